//! The faulty store fails exactly at the planned calls, with the documented effects.

use std::time::Duration;

use eventsourcing_core::store::{
    Append, Appended, CodecId, CommandId, EventStore, Expected, LogQuery, MemoryStore, NewEvent,
    Position, StoreError, StreamId, StreamQuery, Version,
};
use eventsourcing_testing::conformance::Fixture;
use eventsourcing_testing::{Fault, FaultRates, FaultyStore, ManualClock, Operation, Seed};
use tokio::time::Instant;
use uuid::Uuid;

fn stream() -> StreamId {
    StreamId::new("Account", Uuid::nil())
}

fn deposit() -> Append {
    let event = NewEvent {
        name: "Deposited".into(),
        schema_version: 1,
        codec: CodecId(1),
        payload: Vec::new(),
        metadata: Vec::new(),
    };
    Append::new(ManualClock::START).with_events(stream(), Expected::Any, vec![event])
}

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new())
}

async fn written(store: &FaultyStore<MemoryStore>) -> usize {
    store
        .inner()
        .read_stream(StreamQuery::new(stream()))
        .await
        .expect("nothing fails inside")
        .len()
}

fn is_unavailable<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

#[tokio::test]
async fn third_append_fails_before_it_is_written() {
    let store = store().with_fault(Operation::Append, 3, Fault::Unavailable);
    for nth in 1..=4 {
        assert_eq!(
            is_unavailable(store.append(deposit()).await),
            nth == 3,
            "call {nth}"
        );
    }
    assert_eq!(
        (written(&store).await, store.calls(Operation::Append)),
        (3, 4)
    );
}

#[tokio::test]
async fn lost_reply_leaves_the_append_written() {
    let store = store().with_fault(Operation::Append, 1, Fault::LostReply);
    let append = deposit().with_command_id(CommandId::new());
    assert!(is_unavailable(store.append(append.clone()).await));
    assert_eq!(written(&store).await, 1);
    assert!(
        store
            .append(append)
            .await
            .expect("only the first fails")
            .repeated
    );
    assert_eq!(written(&store).await, 1);
}

#[tokio::test]
async fn conflict_names_the_version_that_a_reload_shows() {
    let store = store().with_fault(Operation::Append, 2, Fault::Conflict);
    store
        .append(deposit())
        .await
        .expect("only the second fails");
    match store.append(deposit()).await {
        Err(StoreError::Conflict {
            stream: on,
            expected,
            actual,
        }) => {
            assert_eq!(
                (on, expected, actual),
                (stream(), Expected::Any, Version::FIRST)
            );
        }
        other => panic!("expected a conflict, found {other:?}"),
    }
    assert_eq!(written(&store).await, 1);
}

#[tokio::test]
async fn next_read_of_the_log_fails_once() {
    let store = store();
    let read = || store.read_log(LogQuery::after(Position::ZERO));
    read().await.expect("no fault is planned");
    store.fail_next(Operation::ReadLog, Fault::Unavailable);
    assert!(is_unavailable(read().await));
    read().await.expect("only one fails");
    assert_eq!(
        (
            store.calls(Operation::ReadLog),
            store.calls(Operation::Append)
        ),
        (3, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn delay_holds_the_operation_back_and_lets_it_go_well() {
    let store = store().with_fault(Operation::Head, 1, Fault::Delay(Duration::from_secs(3)));
    let start = Instant::now();
    assert_eq!(store.head().await.expect("it goes well"), Position::ZERO);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn switched_off_nothing_fails() {
    let all = FaultRates {
        unavailable: 1.0,
        ..FaultRates::default()
    };
    let store = store().with_rates(Seed::new(1), all);
    assert!(is_unavailable(store.append(deposit()).await));
    store.switch_off();
    store.append(deposit()).await.expect("it is switched off");
    store.switch_on();
    assert!(is_unavailable(store.head().await));
    assert_eq!(
        store.calls(Operation::Append),
        2,
        "calls are counted all the same"
    );
}

#[tokio::test]
async fn same_seed_gives_the_same_faults_at_about_the_wanted_rate() {
    let rates = FaultRates {
        unavailable: 0.1,
        lost_reply: 0.1,
        conflict: 0.1,
        ..FaultRates::default()
    };
    let one = outcomes(1, rates).await;
    let same = outcomes(1, rates).await;
    let other = outcomes(2, rates).await;

    assert_eq!(one, same);
    assert_ne!(one, other);
    let failed = one.iter().filter(|outcome| *outcome != "written").count();
    assert!(
        (200..350).contains(&failed),
        "about 271 of 1000 fail: {failed}"
    );
}

async fn outcomes(seed: u64, rates: FaultRates) -> Vec<String> {
    let store = store().with_rates(Seed::new(seed), rates);
    let mut outcomes = Vec::new();
    for _ in 0..1_000 {
        outcomes.push(match store.append(deposit()).await {
            Ok(Appended { .. }) => "written".to_owned(),
            Err(error) => error.to_string(),
        });
    }
    outcomes
}

/// Without faults it keeps the promises of the wrapped store.
struct Faultless(MemoryStore);

impl Fixture for Faultless {
    type Store = FaultyStore<MemoryStore>;

    async fn new() -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> Self::Store {
        FaultyStore::new(self.0.clone())
    }
}

mod without_faults {
    eventsourcing_testing::conformance!(super::Faultless);
}
