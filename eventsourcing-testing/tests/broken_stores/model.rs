//! The comparison with a model notices flawed stores too, and shows a short sequence of actions that proves the flaw.

use std::panic::catch_unwind;

use eventsourcing_testing::model::check_against_model;

use super::flawed_store::{Flaw, Flawed, Sound};
use super::{appending, notes, reading, snapshots, tracking};

/// The longest accepted sequence. Shrinking leaves about three of the at most 40 generated actions.
const ACTIONS_TO_SHOW_MAX: usize = 8;

/// Returns the number of actions of the shortest sequence that was found.
fn actions_to_notice<X: Flaw>() -> usize {
    let panic = catch_unwind(|| check_against_model::<Flawed<X>>(20_000));
    let panic = panic.expect_err("the flaw must be noticed");
    let message = panic
        .downcast_ref::<String>()
        .expect("panics of the comparison carry a message");
    assert!(
        message.contains("EVENTSOURCING_TEST_SEED="),
        "the seed is named: {message}"
    );
    let words = message
        .strip_prefix("the store and the model differ after ")
        .expect("it says so");
    words
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("it says after how many actions")
}

macro_rules! notices {
    ($($name:ident: $flaw:ty;)*) => {$(
        #[test]
        fn $name() {
            let actions = actions_to_notice::<$flaw>();
            assert!(actions <= ACTIONS_TO_SHOW_MAX, "{actions} actions are many to show {}", stringify!($flaw));
        }
    )*};
}

notices! {
    notices_events_in_reverse: appending::ReversesEvents;
    notices_forgotten_commands: appending::ForgetsCommands;
    notices_expectations_checked_before_commands: appending::ChecksExpectationsFirst;
    notices_guards_that_are_dropped: appending::DropsGuards;
    notices_times_cut_to_seconds: appending::KeepsWholeSeconds;
    notices_limits_on_the_wrong_end: reading::LimitsBeforeReversing;
    notices_pages_that_leave_out_events: reading::CeilingOneTooHigh;
    notices_filters_that_are_ignored: reading::IgnoresFirstOfStream;
    notices_tracking_that_is_written_without_its_append: tracking::TracksFirst;
    notices_followers_taken_for_one: tracking::FoldsFollowers;
    notices_revisions_that_are_ignored: notes::IgnoresRevisions;
    notices_notes_that_are_kept_for_ever: notes::ForgetsNothing;
    notices_notes_after_a_key_that_include_it: notes::ReadsFromTheKey;
    notices_fingerprints_that_are_ignored: snapshots::IgnoresFingerprints;
    notices_snapshots_beyond_the_asked_version: snapshots::GoesBeyond;
}

#[test]
fn agrees_with_a_store_without_flaw() {
    check_against_model::<Flawed<Sound>>(200);
}
