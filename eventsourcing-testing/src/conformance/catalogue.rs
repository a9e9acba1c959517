//! The list of the promises and the functions that prove them. Tests are generated from it, and [`promises`] returns it as
//! data. A new promise is a function and a line in this list.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::concurrency::within;
use super::{DurableFixture, Fixture, FollowerFixture, RevertingFixture};

/// A promise and the function that proves it for the stores of `F`.
pub struct Promise<F> {
    /// The number in `docs/store-contract.md`.
    pub number: u8,
    /// The name of the function.
    pub name: &'static str,
    /// The function itself.
    pub function: for<'a> fn(&'a F) -> Proof<'a>,
}

/// Panics if the promise is broken.
type Proof<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl<F: Fixture> Promise<F> {
    /// Proves the promise in a new place.
    ///
    /// # Panics
    /// The promise is broken, or the proof takes longer than [`Fixture::TIMEOUT`].
    pub async fn prove(&self) {
        let fixture = F::new().await;
        within::<F, _>(&self.to_string(), (self.function)(&fixture)).await;
    }
}

impl<F> fmt::Display for Promise<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{} {}", self.number, self.name)
    }
}

impl<F> fmt::Debug for Promise<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns the promises of every store.
#[must_use]
pub fn event_promises<F: Fixture>() -> Vec<Promise<F>> {
    crate::conformance_list!(event_store => crate::conformance_data [F])
}

/// Returns the further promises of stores that implement [`EventStore`](eventsourcing_core::store::EventStore) alone.
#[must_use]
pub fn event_store_promises<F: Fixture>() -> Vec<Promise<F>> {
    crate::conformance_list!(event_store_alone => crate::conformance_data [F])
}

/// Returns the promises of every store on which systems run: those of every store and more.
#[must_use]
pub fn promises<F: FollowerFixture>() -> Vec<Promise<F>> {
    let mut promises = event_promises();
    promises.extend(crate::conformance_list!(follower_store => crate::conformance_data [F]));
    promises
}

/// Returns the further promises of stores that outlive their process.
#[must_use]
pub fn durable_promises<F: DurableFixture>() -> Vec<Promise<F>> {
    crate::conformance_list!(durable_store => crate::conformance_data [F])
}

/// Returns the further promises of stores that have a [database](eventsourcing_core::store::FollowerStore::database).
#[must_use]
pub fn database_promises<F: FollowerFixture>() -> Vec<Promise<F>> {
    crate::conformance_list!(store_with_database => crate::conformance_data [F])
}

/// Returns the further promises of stores whose server may forget commits.
#[must_use]
pub fn reverting_promises<F: RevertingFixture>() -> Vec<Promise<F>> {
    crate::conformance_list!(reverting_store => crate::conformance_data [F])
}

/// Passes the list to another macro, together with the other arguments of that macro.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_list {
    (event_store => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            1 events_read_back_in_order_with_growing_versions_and_positions,
            1 events_get_positions_in_the_order_of_their_streams,
            3 no_stream_is_exact_zero,
            3 exists_refuses_an_empty_stream,
            3 stale_append_conflicts_and_writes_nothing,
            4 of_concurrent_appends_at_one_version_exactly_one_succeeds,
            5 concurrent_appends_at_any_version_all_succeed,
            6 refused_command_can_be_tried_again,
            6 command_that_records_nothing_honours_its_guards,
            6 commands_that_share_an_append_need_no_event,
            6 refused_append_answers_none_of_the_commands_that_share_it,
            6 kept_rejection_comes_back_unchanged,
            7 simultaneous_appends_of_one_command_write_once,
            7 simultaneous_appends_that_share_a_command_carry_it_out_once,
            7 simultaneous_answers_to_one_command_are_one,
            8 names_are_compared_byte_for_byte,
            8 largest_allowed_append_is_kept,
            8 bytes_and_names_come_back_unchanged,
            9 append_that_carries_nothing_is_invalid,
            9 snapshot_alone_is_allowed,
            9 rejection_with_events_is_invalid,
            9 commands_that_cannot_share_an_append_are_invalid,
            9 rejection_with_more_than_its_text_is_invalid,
            10 append_over_two_streams_conflicts_when_either_is_wrong,
            12 ranges_of_a_stream_are_inclusive_in_both_directions,
            12 unknown_stream_is_empty,
            13 load_gives_a_snapshot_and_exactly_the_events_after_it,
            13 load_goes_on_after_a_version_and_within_a_limit,
            13 load_is_one_consistent_view_while_others_append,
            14 same_id_in_different_categories_is_different_streams,
            15 following_ceilings_visits_every_event_once_in_order,
            15 ceiling_is_never_before_the_position_asked_for,
            16 reader_that_follows_ceilings_sees_every_acknowledged_event_once,
            17 filter_returns_what_filtering_by_hand_would,
            17 ceiling_moves_over_what_the_filter_left_out,
            18 head_never_runs_ahead_of_what_is_readable,
            22 log_id_is_the_same_for_every_store_of_one_place,
            24 newest_snapshot_not_beyond_the_asked_version_is_found,
            24 snapshot_with_another_fingerprint_is_ignored,
            24 snapshot_beyond_its_stream_is_invalid_and_writes_nothing,
            25 losing_all_snapshots_changes_no_result,
            26 waiting_ends_at_once_when_the_event_is_already_there,
            26 append_at_the_moment_of_waiting_is_not_missed,
            35 visible_log_shows_its_end_and_the_event_at_a_position,
            37 newest_position_covers_every_acknowledged_event,
            41 page_reaches_as_far_as_its_reader_knows_the_log_to_be_decided,
        }
    };
    (event_store_alone => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            21 step_is_refused_where_there_are_no_followers,
        }
    };
    (follower_store => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            2 append_over_streams_and_tracking_is_all_or_nothing,
            6 repeated_command_is_recognised_when_its_expectation_is_stale,
            6 receipt_of_a_command_can_be_read,
            6 receipt_without_events_stands_for_what_was_there,
            6 repeated_command_returns_the_first_receipt_and_writes_nothing,
            6 receipts_are_listed_in_the_order_of_their_commands,
            6 receipts_say_their_log_and_their_kind,
            6 commands_that_share_an_append_have_receipts_of_their_own,
            6 repeated_command_refuses_the_append_it_shares,
            8 beyond_the_limits_is_invalid_and_writes_nothing,
            8 any_name_may_follow,
            9 tracking_alone_is_allowed,
            10 guard_on_a_further_stream_is_honoured,
            11 dropped_append_happened_wholly_or_not_at_all,
            18 head_is_the_position_of_the_last_readable_event,
            19 position_is_never_used_twice,
            20 tracking_is_written_with_its_append_or_not_at_all,
            21 step_from_elsewhere_is_refused_and_says_where_the_follower_is,
            21 step_goes_back_only_if_it_says_so,
            21 two_runners_of_one_follower_do_each_step_once,
            22 followers_are_independent,
            23 lease_is_held_by_one_holder_at_a_time,
            23 of_many_who_ask_at_once_one_gets_the_lease,
            23 expired_lease_is_taken_over_with_a_larger_token,
            23 renewed_lease_lasts,
            23 append_with_an_outdated_token_is_refused,
            23 released_lease_is_free_at_once,
            23 holder_of_a_lease_is_known_until_it_ends,
            23 leases_are_independent,
            26 waiting_ends_when_another_store_writes,
            28 refused_append_leaves_no_trace,
            30 notes_are_written_with_their_step_or_not_at_all,
            30 step_at_an_outdated_revision_is_refused_and_writes_nothing,
            30 of_concurrent_steps_at_one_revision_exactly_one_succeeds,
            30 every_step_adds_one_to_the_revision,
            30 note_that_is_put_replaces_and_one_that_is_missing_may_be_removed,
            30 notes_are_read_in_order_by_prefix_after_a_key_and_so_many,
            30 notebook_is_of_one_moment_while_the_follower_steps,
            30 notes_of_different_followers_and_logs_are_independent,
            30 notes_come_back_unchanged,
            30 notes_beyond_the_limits_are_invalid_and_write_nothing,
            31 checksums_are_what_counting_by_hand_gives,
            31 checksums_of_nothing_are_none,
            31 digest_of_an_event_is_the_documented_one,
            33 nothing_is_done_in_an_epoch_that_is_not_the_present_one,
            37 newest_position_is_that_of_the_last_event_that_can_be_seen,
            38 step_of_an_outdated_cut_is_refused_and_writes_nothing,
            38 cut_is_recorded_with_its_step_or_not_at_all,
            38 of_concurrent_first_steps_one_cut_is_recorded,
            39 last_event_seen_is_written_with_its_step_or_not_at_all,
            40 followers_that_have_made_a_step_are_listed_in_order,
        }
    };
    (reverting_store => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            33 log_that_went_back_is_read_as_it_is_now,
            33 page_of_an_earlier_epoch_is_refused,
            34 append_of_an_earlier_epoch_is_refused_and_writes_nothing,
            34 repeated_command_is_recognised_in_the_next_epoch,
            36 waiting_ends_with_the_epoch,
        }
    };
    (durable_store => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            6 repeated_command_is_recognised_after_a_restart,
            6 receipts_of_every_kind_survive_a_restart,
            6 commands_that_shared_an_append_are_recognised_after_a_restart,
            19 position_is_never_used_twice_after_a_restart,
            27 acknowledged_appends_survive_a_crash,
            29 many_may_open_a_new_place_at_once,
            29 opening_again_changes_nothing,
            29 newer_schema_is_refused_and_left_alone,
            29 foreign_tables_are_left_alone,
            29 store_that_must_exist_is_never_made,
        }
    };
    (store_with_database => $($callback:tt)::+ [$($argument:tt)*]) => {
        $($callback)::+! { [$($argument)*]
            32 transaction_and_its_step_happen_together_or_not_at_all,
            32 step_in_a_transaction_is_refused_as_in_an_append,
            32 of_transactions_that_make_one_step_exactly_one_succeeds,
            32 query_sees_only_what_is_committed,
            32 dropped_transaction_happened_wholly_or_not_at_all,
            32 appends_go_on_after_transactions_that_are_dropped,
            32 idle_transaction_does_not_block_others_for_ever,
            32 tables_views_and_indexes_belong_to_the_transaction,
            32 values_of_every_kind_come_back_unchanged,
            32 nothing_goes_into_and_comes_out_of_every_column,
            32 parameters_go_where_their_numbers_stand,
            32 statements_say_how_many_rows_they_changed,
            32 refused_statement_is_named_and_changes_nothing,
            32 commit_after_a_refused_step_writes_nothing_and_says_so,
            32 commit_after_a_refused_statement_writes_nothing_and_says_so,
            32 commit_after_a_dropped_operation_writes_nothing_and_says_so,
            34 step_in_a_transaction_of_another_epoch_is_refused,
        }
    };
}

/// Expands the list to data: see [`promises`].
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_data {
    ([$fixture:ty] $($number:literal $name:ident,)*) => {
        ::std::vec![$(
            $crate::conformance::Promise::<$fixture> {
                number: $number,
                name: ::std::stringify!($name),
                function: |fixture| ::std::boxed::Box::pin($crate::conformance::$name(fixture)),
            },
        )*]
    };
}

/// Expands the list to tests: see [`conformance!`](crate::conformance).
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ([$fixture:ty] $($number:literal $name:ident,)*) => {$(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            let promise = $crate::conformance::Promise::<$fixture> {
                number: $number,
                name: ::std::stringify!($name),
                function: |fixture| ::std::boxed::Box::pin($crate::conformance::$name(fixture)),
            };
            promise.prove().await;
        }
    )*};
}

/// Tests a store with the conformance suite: expands to one test for each function that proves a promise.
///
/// `conformance!(MyFixture)` is for any [`FollowerFixture`](crate::conformance::FollowerFixture), and
/// `conformance!(MyFixture, events)` for a [`Fixture`](crate::conformance::Fixture) of stores that implement
/// [`EventStore`](eventsourcing_core::store::EventStore) alone. `durable` adds the promises of a
/// [`DurableFixture`](crate::conformance::DurableFixture), `database` those of stores that have a
/// [database](eventsourcing_core::store::FollowerStore::database), and `reverting` those of a
/// [`RevertingFixture`](crate::conformance::RevertingFixture), whose server may forget commits. A second fixture needs
/// a module of its own, because the tests have the names of the functions.
///
/// Example: see the module [`conformance`](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    ($fixture:ty, events) => {
        $crate::conformance_list!(event_store => $crate::conformance_tests [$fixture]);
        $crate::conformance_list!(event_store_alone => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty) => {
        $crate::conformance_list!(event_store => $crate::conformance_tests [$fixture]);
        $crate::conformance_list!(follower_store => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, durable) => {
        $crate::conformance!($fixture);
        $crate::conformance_list!(durable_store => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, database) => {
        $crate::conformance!($fixture);
        $crate::conformance_list!(store_with_database => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, durable, database) => {
        $crate::conformance!($fixture, durable);
        $crate::conformance_list!(store_with_database => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, reverting) => {
        $crate::conformance!($fixture);
        $crate::conformance_list!(reverting_store => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, durable, reverting) => {
        $crate::conformance!($fixture, durable);
        $crate::conformance_list!(reverting_store => $crate::conformance_tests [$fixture]);
    };
    ($fixture:ty, durable, database, reverting) => {
        $crate::conformance!($fixture, durable, database);
        $crate::conformance_list!(reverting_store => $crate::conformance_tests [$fixture]);
    };
}
