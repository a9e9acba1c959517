//! Values that the test kit makes from a seed are the same in every run, and its clock stands still.

use std::collections::HashSet;
use std::time::Duration;

use eventsourcing_core::{Clock, IdSource};
use eventsourcing_testing::{ManualClock, Seed, SeededIds};
use uuid::Variant;

#[test]
fn ids_are_the_same_for_the_same_seed_and_different_for_another() {
    let draw = |seed| {
        let ids = SeededIds::new(Seed::new(seed));
        (0..1_000).map(|_| ids.next_id()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    let both: HashSet<_> = draw(1).into_iter().chain(draw(2)).collect();
    assert_eq!(both.len(), 2_000, "no id is drawn twice");
    assert!(
        both.iter()
            .all(|id| id.get_version_num() == 4 && id.get_variant() == Variant::RFC4122)
    );
}

#[test]
fn clones_of_ids_continue_one_row() {
    let ids = SeededIds::new(Seed::new(1));
    assert_ne!(ids.clone().next_id(), ids.next_id());
}

#[test]
fn clock_moves_only_by_hand() {
    let (clock, same) = {
        let clock = ManualClock::new();
        (clock.clone(), clock)
    };
    assert_eq!(
        (clock.now(), clock.now()),
        (ManualClock::START, ManualClock::START)
    );
    clock.advance(Duration::from_millis(1_500));
    assert_eq!(
        same.now().as_microsecond() - ManualClock::START.as_microsecond(),
        1_500_000
    );
    same.set(ManualClock::START);
    assert_eq!(clock.now(), ManualClock::START, "a clock can be set back");
}
