//! Tests of the conformance suite: for each of its functions there is a store that breaks the promise, and the function must
//! notice. The functions of P32 need a database, so `eventsourcing-sqlite` tests them.

mod appending;
mod checksums;
mod durability;
mod epochs;
mod flawed_store;
mod leases;
mod model;
mod notes;
mod reading;
mod receipts;
mod shared_commands;
mod snapshots;
mod steps;
mod tracking;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;

use eventsourcing_testing::conformance::{
    self, Promise, durable_promises, event_store_promises, promises, reverting_promises,
};

use flawed_store::{Flaw, Flawed, Sound};

/// Expands to a test for each function of the suite: the function must fail for all stores named with it.
macro_rules! catches {
    ($($function:ident: [$($flaw:ty),+ $(,)?],)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $function() {
                $(assert_caught::<$flaw>(Promise {
                    number: 0,
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
    events_read_back_in_order_with_growing_versions_and_positions: [appending::ReversesEvents, appending::LosesTheReceipt],
    events_get_positions_in_the_order_of_their_streams: [appending::ReversesStreams],
    append_over_streams_and_tracking_is_all_or_nothing: [appending::WritesStreamByStream],
    stale_append_conflicts_and_writes_nothing:
        [appending::IgnoresExpectations, appending::WritesAndConflicts, appending::HidesTheActualVersion],
    no_stream_is_exact_zero: [appending::IgnoresExpectations],
    exists_refuses_an_empty_stream: [appending::IgnoresExpectations],
    of_concurrent_appends_at_one_version_exactly_one_succeeds: [appending::ChecksThenWrites],
    concurrent_appends_at_any_version_all_succeed: [appending::ConflictsAtAnyVersion],
    repeated_command_returns_the_first_receipt_and_writes_nothing: [appending::ForgetsCommands],
    repeated_command_is_recognised_when_its_expectation_is_stale: [appending::ChecksExpectationsFirst],
    receipt_of_a_command_can_be_read:
        [appending::LosesReceipts, appending::LosesReceiptsWithoutEvents, appending::InventsReceipts],
    receipts_are_listed_in_the_order_of_their_commands: [
        appending::ListsReceiptsAgain,
        appending::ListsTooManyReceipts,
        appending::LeavesOutAReceipt,
        appending::ListsReceiptsBackwards,
    ],
    refused_command_can_be_tried_again: [appending::RemembersRefusedCommands],
    receipts_say_their_log_and_their_kind: [
        receipts::NamesNoLog,
        receipts::TakesNothingForARejection,
        appending::TakesRejectionsForNothing,
        appending::ForgetsCommands,
    ],
    receipt_without_events_stands_for_what_was_there: [receipts::AnswersAtZero],
    command_that_records_nothing_honours_its_guards: [appending::DropsGuards],
    commands_that_share_an_append_have_receipts_of_their_own:
        [shared_commands::GivesAllCommandsTheLastPosition, shared_commands::RemembersOneOfSeveral],
    commands_that_share_an_append_need_no_event: [shared_commands::AnswersSharedCommandsAtZero],
    repeated_command_refuses_the_append_it_shares: [
        shared_commands::WritesWithoutTheRepeated,
        shared_commands::NamesOneOfTheRepeated,
        appending::ChecksExpectationsFirst,
    ],
    refused_append_answers_none_of_the_commands_that_share_it: [shared_commands::RemembersRefusedSharedCommands],
    simultaneous_appends_that_share_a_command_carry_it_out_once: [shared_commands::LooksForReceiptsThenWrites],
    commands_that_cannot_share_an_append_are_invalid: [shared_commands::MakesCommandsFit],
    commands_that_shared_an_append_are_recognised_after_a_restart: [durability::ForgetsCommandsInACrash],
    simultaneous_answers_to_one_command_are_one: [appending::RemembersCommandsTooLate],
    rejection_with_events_is_invalid: [appending::TakesRejectionsForNothing],
    kept_rejection_comes_back_unchanged:
        [receipts::ForgetsRejections, receipts::TrimsRejections, receipts::TakesEmptyRejectionsForNone],
    rejection_with_more_than_its_text_is_invalid: [receipts::WritesMoreThanTheRejection],
    any_name_may_follow: [tracking::TakesNoLongNames],
    step_is_refused_where_there_are_no_followers: [tracking::DropsSteps],
    newest_position_is_that_of_the_last_event_that_can_be_seen:
        [receipts::NewestCountsRefusedAppends, receipts::NewestIsRemembered],
    newest_position_covers_every_acknowledged_event: [receipts::NewestIsRemembered],
    receipts_of_every_kind_survive_a_restart: [receipts::ForgetsKindsInACrash],
    simultaneous_appends_of_one_command_write_once: [appending::RemembersCommandsTooLate],
    bytes_and_names_come_back_unchanged:
        [appending::RepairsUtf8, appending::TrimsNames, appending::KeepsWholeSeconds],
    names_are_compared_byte_for_byte: [appending::TrimsNames, appending::FoldsCase],
    largest_allowed_append_is_kept: [appending::RefusesLargePayloads],
    beyond_the_limits_is_invalid_and_writes_nothing: [appending::CutsLargePayloads],
    append_that_carries_nothing_is_invalid: [appending::AcceptsNothing],
    tracking_alone_is_allowed: [appending::RefusesTrackingAlone],
    snapshot_alone_is_allowed: [appending::RefusesSnapshotAlone],
    append_over_two_streams_conflicts_when_either_is_wrong: [appending::ChecksTheFirstStreamOnly],
    guard_on_a_further_stream_is_honoured: [appending::DropsGuards],
    dropped_append_happened_wholly_or_not_at_all: [appending::WritesInSteps],
    ranges_of_a_stream_are_inclusive_in_both_directions: [reading::LeavesOutTheEnd, reading::LimitsBeforeReversing],
    unknown_stream_is_empty: [reading::MissesUnknownStreams],
    load_gives_a_snapshot_and_exactly_the_events_after_it: [reading::LoadsTheSnapshotsEventToo],
    load_goes_on_after_a_version_and_within_a_limit: [reading::LoadsFromTheStart, reading::LoadsWithoutLimit],
    load_is_one_consistent_view_while_others_append: [reading::LoadsInTwoSteps],
    same_id_in_different_categories_is_different_streams: [reading::ForgetsCategories],
    following_ceilings_visits_every_event_once_in_order: [reading::CeilingOneTooHigh, reading::CeilingOneTooLow],
    ceiling_is_never_before_the_position_asked_for: [reading::CeilingIsTheHead],
    reader_that_follows_ceilings_sees_every_acknowledged_event_once: [reading::ShowsTheNewestLate],
    filter_returns_what_filtering_by_hand_would: [reading::IgnoresNames, reading::IgnoresFirstOfStream],
    ceiling_moves_over_what_the_filter_left_out: [reading::CeilingIsTheLastWanted],
    head_is_the_position_of_the_last_readable_event: [reading::HeadCountsRefusedAppends],
    head_never_runs_ahead_of_what_is_readable: [reading::HeadRunsAhead],
    position_is_never_used_twice: [reading::ReusesPositionsOfRefusedAppends],
    tracking_is_written_with_its_append_or_not_at_all: [tracking::TracksFirst],
    step_from_elsewhere_is_refused_and_says_where_the_follower_is: [tracking::StepsFromAnywhere],
    step_goes_back_only_if_it_says_so: [tracking::StepsBackUnasked, tracking::NeverStepsBack],
    two_runners_of_one_follower_do_each_step_once: [tracking::ChecksTheStepThenWrites],
    followers_are_independent: [tracking::FoldsFollowers, tracking::IgnoresUpstreams],
    log_id_is_the_same_for_every_store_of_one_place: [tracking::HasManyLogIds],
    lease_is_held_by_one_holder_at_a_time: [leases::GivesToAll, leases::RefusesRenewal],
    of_many_who_ask_at_once_one_gets_the_lease: [leases::LooksThenGives],
    expired_lease_is_taken_over_with_a_larger_token: [leases::NeverExpires, leases::GivesEveryoneTheSameToken],
    renewed_lease_lasts: [leases::ForgetsRenewals],
    append_with_an_outdated_token_is_refused: [leases::IgnoresTokens, leases::WritesPastTheLease],
    released_lease_is_free_at_once: [leases::NeverReleases, leases::ReleasesForAnybody],
    holder_of_a_lease_is_known_until_it_ends: [leases::NamesNobody, leases::NamesWhoeverWasLast],
    leases_are_independent: [leases::LeasesTheStore, leases::TakesAnyDuration],
    newest_snapshot_not_beyond_the_asked_version_is_found: [snapshots::FindsTheOldest, snapshots::GoesBeyond],
    snapshot_with_another_fingerprint_is_ignored: [snapshots::IgnoresFingerprints],
    snapshot_beyond_its_stream_is_invalid_and_writes_nothing: [snapshots::DropsSnapshotsBeyond],
    losing_all_snapshots_changes_no_result: [snapshots::CannotDoWithout],
    waiting_ends_when_another_store_writes: [waiting::NeverWakes, waiting::WakesForNothing],
    waiting_ends_at_once_when_the_event_is_already_there: [waiting::WaitsForTheNextEvent],
    append_at_the_moment_of_waiting_is_not_missed: [waiting::LooksAwayBeforeWaiting],
    refused_append_leaves_no_trace: [appending::WritesAndConflicts, appending::RemembersRefusedCommands],
    notes_are_written_with_their_step_or_not_at_all: [notes::NotesFirst, notes::DropsNotes],
    step_at_an_outdated_revision_is_refused_and_writes_nothing:
        [notes::IgnoresRevisions, notes::ChecksRevisionsOfMovesOnly],
    of_concurrent_steps_at_one_revision_exactly_one_succeeds: [notes::ChecksRevisionsThenSteps],
    every_step_adds_one_to_the_revision: [notes::CountsMovesOnly, notes::NotesFirst],
    note_that_is_put_replaces_and_one_that_is_missing_may_be_removed:
        [notes::KeepsTheFirstNote, notes::CannotForgetWhatIsMissing, notes::ForgetsNothing],
    notes_are_read_in_order_by_prefix_after_a_key_and_so_many: [
        notes::IgnoresPrefixes,
        notes::FoldsTheCaseOfPrefixes,
        notes::ReadsFromTheKey,
        notes::IgnoresTheLimit,
        notes::SortsByUtf16,
    ],
    notebook_is_of_one_moment_while_the_follower_steps: [notes::ReadsInTwoSteps],
    notes_of_different_followers_and_logs_are_independent: [tracking::FoldsFollowers, tracking::IgnoresUpstreams],
    notes_come_back_unchanged: [notes::TrimsNotes],
    notes_beyond_the_limits_are_invalid_and_write_nothing: [notes::CutsLongKeys],
    checksums_are_what_counting_by_hand_gives: [
        checksums::CountsTheEventBefore,
        checksums::LeavesOutTheLastEvent,
        checksums::IgnoresTheFilter,
        checksums::CountsAllEventsOfAStream,
        checksums::CutsSlicesTooEarly,
    ],
    checksums_of_nothing_are_none: [checksums::NamesEmptySlices, checksums::CountsTheEventBefore],
    digest_of_an_event_is_the_documented_one: [checksums::DigestsInItsOwnWay],
    step_of_an_outdated_cut_is_refused_and_writes_nothing: [steps::IgnoresCuts],
    cut_is_recorded_with_its_step_or_not_at_all: [steps::IgnoresCuts, steps::RecordsCutsOfRefusedSteps],
    of_concurrent_first_steps_one_cut_is_recorded: [steps::ChecksTheCutThenWrites],
    last_event_seen_is_written_with_its_step_or_not_at_all: [steps::ForgetsTheLastEvent],
    nothing_is_done_in_an_epoch_that_is_not_the_present_one:
        [epochs::AppendsInAnyEpoch, epochs::StepsInAnyEpoch, epochs::ReadsInAnyEpoch, epochs::WaitsOn],
    visible_log_shows_its_end_and_the_event_at_a_position:
        [epochs::HidesTheEvent, epochs::ShowsTheNextEvent, epochs::EndsAtTheEvent],
    log_that_went_back_is_read_as_it_is_now: [epochs::NeverGoesBack, epochs::StaysInTheFirstEpoch],
    page_of_an_earlier_epoch_is_refused: [epochs::ReadsInAnyEpoch, epochs::StaysInTheFirstEpoch],
    append_of_an_earlier_epoch_is_refused_and_writes_nothing:
        [epochs::AppendsInAnyEpoch, epochs::StaysInTheFirstEpoch],
    repeated_command_is_recognised_in_the_next_epoch: [epochs::ChecksEpochsFirst, epochs::AppendsInAnyEpoch],
    waiting_ends_with_the_epoch: [epochs::WaitsOn],
    followers_that_have_made_a_step_are_listed_in_order: [
        tracking::FoldsFollowers,
        tracking::IgnoresUpstreams,
        tracking::ListsFollowersAgain,
        tracking::ListsTooManyFollowers,
        tracking::LeavesOutTheFirstFollower,
        tracking::ListsFollowersByUtf16,
        tracking::ListsFollowersBackwards,
    ],
    page_reaches_as_far_as_its_reader_knows_the_log_to_be_decided:
        [reading::EndsWhereItSeesTheEnd, reading::JumpsToWhatIsDecided],
    repeated_command_is_recognised_after_a_restart: [durability::ForgetsCommandsInACrash],
    position_is_never_used_twice_after_a_restart: [durability::ReusesPositionsAfterACrash],
    acknowledged_appends_survive_a_crash: [durability::LosesTheLastEvent],
    many_may_open_a_new_place_at_once: [durability::FailsWhenOthersOpen],
    opening_again_changes_nothing: [durability::TakesANewLogId],
    newer_schema_is_refused_and_left_alone: [durability::OpensNewerSchemas, durability::BlamesTheConnection],
    foreign_tables_are_left_alone: [durability::DropsForeignTables],
    store_that_must_exist_is_never_made:
        [durability::MakesWhatMustExist, durability::MakesAndRefuses, durability::WaitsForWhatIsMissing],
}

/// A flaw in a race may go unnoticed by chance, so one failure in several rounds is enough.
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
fn every_function_of_the_suite_is_shown_to_catch_something() {
    let functions = all_promises()
        .into_iter()
        .map(|promise| promise.name)
        .collect::<BTreeSet<_>>();
    assert_eq!(functions, tested_functions());
}

#[test]
fn every_promise_is_in_the_list() {
    let numbers: BTreeSet<_> = all_promises()
        .iter()
        .map(|promise| promise.number)
        .collect();
    assert_eq!(numbers, (1..=31).chain(33..=41).collect());
}

fn all_promises() -> Vec<Promise<Flawed<Sound>>> {
    promises()
        .into_iter()
        .chain(event_store_promises())
        .chain(durable_promises())
        .chain(reverting_promises())
        .collect()
}

/// The store below the flawed stores keeps every promise, so that a failure shows the flaw.
mod sound {
    use super::flawed_store::{Flawed, Sound};

    eventsourcing_testing::conformance!(Flawed<Sound>, durable, reverting);
}
