//! Compares any store with a model so plain that it is evidently right: lists and linear scans.
//!
//! Random sequences of actions run against both, and every answer must be equal. The shortest sequence that shows a difference
//! is printed. The model does not cover concurrency and crashes: see [`conformance`](mod@super::conformance).

mod action;
mod comparison;
mod plain_store;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Seed;
use super::conformance::FollowerFixture;
use action::{Action, any_action};
use comparison::Comparison;

/// The longest sequence of actions.
const ACTIONS_MAX: usize = 40;

/// Runs `cases` random sequences of actions, each against a store in a new place and against the model.
///
/// The function starts its own runtime: call it from a plain `#[test]`.
///
/// ```
/// # use eventsourcing_core::store::MemoryStore;
/// # use eventsourcing_testing::conformance::Fixture;
/// # struct InMemory(MemoryStore);
/// # impl Fixture for InMemory {
/// #     type Store = MemoryStore;
/// #     async fn new() -> Self {
/// #         Self(MemoryStore::new())
/// #     }
/// #     async fn open(&self) -> MemoryStore {
/// #         self.0.clone()
/// #     }
/// # }
/// eventsourcing_testing::model::check_against_model::<InMemory>(20);
/// ```
///
/// # Panics
/// The store and the model differ. The message shows the shortest sequence that was found, and the seed.
pub fn check_against_model<F: FollowerFixture>(cases: u32) {
    let seed = Seed::from_env();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new_with_rng(config, rng(seed))
        .run(&vec(any_action(), 1..=ACTIONS_MAX), |actions| {
            compare::<F>(&runtime, &actions).map_err(TestCaseError::fail)
        });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, actions)) => panic!(
            "the store and the model differ after {} actions: {reason}\nthe actions: {actions:#?}\n{seed}",
            actions.len()
        ),
        Err(TestError::Abort(reason)) => panic!("the comparison was aborted: {reason}\n{seed}"),
    }
}

fn rng(seed: Seed) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.as_u64().to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn compare<F: FollowerFixture>(runtime: &Runtime, actions: &[Action]) -> Result<(), String> {
    let comparison = async {
        let mut comparison = Comparison::<F>::new().await;
        for action in actions {
            comparison.act(action).await?;
        }
        comparison.end().await
    };
    match runtime.block_on(async { timeout(F::TIMEOUT, comparison).await }) {
        Ok(result) => result,
        Err(_) => Err(format!("the actions took longer than {:?}", F::TIMEOUT)),
    }
}
