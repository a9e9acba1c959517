//! Tests of the conformance functions about databases (P32 and P34): for each there is a database that breaks the
//! promise, and the function must fail for it. `broken_stores` of `eventsourcing-testing` does the same for the other
//! promises.

mod flawed_database;
mod flaws;

use std::collections::BTreeSet;
use std::sync::Arc;

use eventsourcing_testing::conformance::{self, Promise, database_promises};

use flawed_database::{Flaw, Flawed, Sound};

/// Creates a test for each function of the suite: the function must fail for all databases named with it.
macro_rules! catches {
    ($($function:ident: [$($flaw:ty),+ $(,)?],)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $function() {
                $(assert_caught::<$flaw>(Promise {
                    number: 32,
                    name: stringify!($function),
                    function: |fixture| Box::pin(conformance::$function(fixture)),
                })
                .await;)+
            }
        )*

        fn tested_functions() -> BTreeSet<&'static str> {
            BTreeSet::from([$(stringify!($function)),*])
        }
    };
}

catches! {
    transaction_and_its_step_happen_together_or_not_at_all: [
        flaws::ForgetsSteps,
        flaws::CommitsNothing,
        flaws::CommitsEachStatement,
        flaws::CommitsWhatIsDropped,
    ],
    step_in_a_transaction_is_refused_as_in_an_append:
        [flaws::IgnoresLeases, flaws::IgnoresRevisions, flaws::StepsFromAnywhere],
    of_transactions_that_make_one_step_exactly_one_succeeds: [flaws::StepsFromAnywhere],
    query_sees_only_what_is_committed: [flaws::CommitsEachStatement],
    dropped_transaction_happened_wholly_or_not_at_all: [flaws::CommitsEachStatement],
    appends_go_on_after_transactions_that_are_dropped: [flaws::CommitsEachStatement, flaws::NeverEndsWhatIsDropped],
    idle_transaction_does_not_block_others_for_ever: [flaws::KeepsIdleTransactions, flaws::HidesThatItWasUndone],
    tables_views_and_indexes_belong_to_the_transaction: [flaws::CommitsEachStatement],
    values_of_every_kind_come_back_unchanged: [flaws::RoundsNumbers, flaws::TrimsTexts, flaws::ReadsBytesAsText],
    nothing_goes_into_and_comes_out_of_every_column: [flaws::WritesZeroForNothing],
    parameters_go_where_their_numbers_stand: [flaws::TakesParametersInTheOrderTheyOccur],
    statements_say_how_many_rows_they_changed: [flaws::AlwaysCountsOne],
    refused_statement_is_named_and_changes_nothing: [flaws::BlamesTheStore, flaws::WritesInQueries],
    commit_after_a_refused_step_writes_nothing_and_says_so: [flaws::ForgetsRefusals],
    commit_after_a_refused_statement_writes_nothing_and_says_so: [flaws::ForgetsRefusals],
    commit_after_a_dropped_operation_writes_nothing_and_says_so: [flaws::CommitsWhatNobodyWaitedFor],
    step_in_a_transaction_of_another_epoch_is_refused: [flaws::IgnoresEpochs],
}

/// A race may go well by chance, so its flaw may stay unnoticed: one failure in several rounds is enough.
const ROUNDS_MAX: usize = 5;

async fn assert_caught<X: Flaw>(promise: Promise<Flawed<X>>) {
    let function = promise.name;
    let promise = Arc::new(promise);
    for _ in 0..ROUNDS_MAX {
        let promise = Arc::clone(&promise);
        let proof = tokio::spawn(async move { promise.prove().await }).await;
        if proof.is_err_and(|error| error.is_panic()) {
            return;
        }
    }
    panic!("{function} has not noticed {}", std::any::type_name::<X>());
}

#[test]
fn every_function_about_databases_is_shown_to_catch_something() {
    let functions = database_promises::<Flawed<Sound>>()
        .into_iter()
        .map(|promise| promise.name);
    assert_eq!(functions.collect::<BTreeSet<_>>(), tested_functions());
}

/// The base of the flawed databases keeps every promise, so only the flaw can be noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn database_without_flaw_keeps_the_promises() {
    let prove =
        |promise: Promise<Flawed<Sound>>| tokio::spawn(async move { promise.prove().await });
    for proof in database_promises()
        .into_iter()
        .map(prove)
        .collect::<Vec<_>>()
    {
        proof.await.expect("no panic");
    }
}
