//! P38 and P39: steps name the cut of a restored log they rely on, and the last event that the follower has seen.

use eventsourcing_core::store::{
    Cut, EventIdentity, EventRef, EventStore, FollowerStore, LogId, Name, Position, StoreError,
    Tracking,
};

use super::FollowerFixture;
use super::assertions::{Picture, assert_invalid, notebook_of, stream_of};
use super::builders::{FOLLOWER, append, append_to, step_from, stream};
use super::concurrency::{Start, open_many, race};
use crate::Seed;

async fn make(store: &impl FollowerStore, step: Tracking) {
    store
        .append(append().with_tracking(step))
        .await
        .expect("the step can be made");
}

fn partition(number: u32, of: u32) -> Name {
    format!("{FOLLOWER}:{number}/{of}").into()
}

fn assert_cut_changed<T: std::fmt::Debug>(
    result: Result<T, StoreError>,
    wanted: u32,
    recorded: u32,
) {
    match result {
        Err(StoreError::CutChanged {
            follower,
            expected,
            actual,
        }) => {
            assert_eq!((follower, expected, actual), (FOLLOWER, wanted, recorded));
        }
        other => {
            panic!("the follower is cut into {recorded} and not {wanted} partitions, but {other:?}")
        }
    }
}

/// P38: The first step that names a cut records it; a step that names another one is refused and writes nothing.
pub async fn step_of_an_outdated_cut_is_refused_and_writes_nothing<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    let log = store.log_id();
    let step = |number, of, from: u64, to| {
        append_to(&stream, "work").with_tracking(
            step_from(from, log)
                .by(partition(number, of))
                .to(to)
                .with_cut(Cut::new(FOLLOWER, of)),
        )
    };
    store
        .append(step(1, 4, 0, 5))
        .await
        .expect("no cut is recorded yet");
    let fresh = fixture.open().await;
    let whole = notebook_of(&fresh, &FOLLOWER, log).await;
    assert_eq!(
        (whole.partitions, whole.position, whole.revision.as_u64()),
        (Some(4), Position::ZERO, 0)
    );
    store
        .append(step(2, 4, 0, 7))
        .await
        .expect("the cut is the recorded one");
    store
        .append(step(1, 4, 5, 8))
        .await
        .expect("the cut is the recorded one");

    let names = [FOLLOWER, partition(1, 4), partition(2, 4), partition(1, 2)];
    let names = [&names[0], &names[1], &names[2], &names[3]];
    let before = Picture::with_followers(&fresh, &[&stream], &names).await;
    let whole = |of| {
        append_to(&stream, "work")
            .with_tracking(step_from(0, log).to(9).with_cut(Cut::new(FOLLOWER, of)))
    };
    assert_cut_changed(store.append(whole(1)).await, 1, 4);
    assert_cut_changed(store.append(step(1, 2, 0, 9)).await, 2, 4);
    assert_cut_changed(fresh.append(whole(5)).await, 5, 4);
    assert_invalid(store.append(whole(0)).await, "no partition at all");
    assert_invalid(
        store.append(whole(u32::MAX)).await,
        "more partitions than there can be",
    );
    assert_eq!(
        before,
        Picture::with_followers(&fixture.open().await, &[&stream], &names).await,
        "nothing may be written"
    );
}

/// P38: A step that is refused for another reason records no cut, cuts of different followers and logs are independent, and a
/// step without a cut is not compared with the recorded one.
pub async fn cut_is_recorded_with_its_step_or_not_at_all<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let log = store.log_id();
    let elsewhere = LogId::new();

    let cut = |of| Cut::new(FOLLOWER, of);
    let refused = store
        .append(append().with_tracking(step_from(3, log).to(9).with_cut(cut(2))))
        .await;
    assert!(
        matches!(refused, Err(StoreError::TrackingConflict { .. })),
        "the follower is at 0, but {refused:?}"
    );
    assert_eq!(
        notebook_of(&store, &FOLLOWER, log).await.partitions,
        None,
        "a refused step records no cut"
    );

    make(&store, step_from(0, log).to(3).with_cut(cut(1))).await;
    make(&store, step_from(0, elsewhere).to(3).with_cut(cut(3))).await;
    make(
        &store,
        step_from(0, log)
            .by("other")
            .to(3)
            .with_cut(Cut::new("other", 2)),
    )
    .await;
    make(&store, step_from(3, log).to(4)).await;
    let fresh = fixture.open().await;
    for (follower, log, partitions) in [
        (FOLLOWER, log, 1),
        (FOLLOWER, elsewhere, 3),
        ("other".into(), log, 2),
    ] {
        assert_eq!(
            notebook_of(&fresh, &follower, log).await.partitions,
            Some(partitions),
            "{follower}"
        );
    }
    assert_eq!(
        notebook_of(&fresh, &"unknown".into(), log).await.partitions,
        None
    );
}

/// P38: Concurrent first steps that name different cuts: those of one cut succeed and all others are refused.
pub async fn of_concurrent_first_steps_one_cut_is_recorded<F: FollowerFixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let log = stores[0].log_id();
    for round in 0..20_u64 {
        let whole = Name::from(format!("follower {round}"));
        let stream = stream();

        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let racers = (0..6_u32).map(|racer| {
            let of = 1 + racer % 2;
            let name = if of == 1 {
                whole.clone()
            } else {
                Name::from(format!("{whole}:{racer}/2"))
            };
            let step = step_from(0, log)
                .by(name)
                .to(1)
                .with_cut(Cut::new(whole.clone(), of));
            let store = std::sync::Arc::clone(&stores[racer as usize % stores.len()]);
            let append = append_to(&stream, &of.to_string());

            async move { store.append(append.with_tracking(step)).await.map(|_| of) }
        });
        let outcomes = race::<F, _>(start, racers).await;
        let recorded = notebook_of(&*stores[0], &whole, log)
            .await
            .partitions
            .expect("a cut is recorded");
        let carried_out: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().ok())
            .collect();
        assert!(
            !carried_out.is_empty() && carried_out.iter().all(|of| **of == recorded),
            "{recorded}: {outcomes:?}"
        );
        assert_eq!(
            stream_of(&*stores[0], &stream).await.len(),
            carried_out.len(),
            "refused steps write nothing"
        );
    }
}

/// P39: A step stores the last event that the follower has seen, or keeps the one that is stored.
pub async fn last_event_seen_is_written_with_its_step_or_not_at_all<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let log = store.log_id();
    let seen = |position, byte| EventRef {
        position: Position::new(position),
        identity: EventIdentity::from_bytes([byte; 16]),
    };
    make(&store, step_from(0, log).to(3)).await;
    assert_eq!(
        notebook_of(&store, &FOLLOWER, log).await.last_event,
        None,
        "no step has named an event"
    );
    make(&store, step_from(3, log).to(5).with_last_event(seen(5, 0))).await;
    let fresh = fixture.open().await;
    assert_eq!(
        notebook_of(&fresh, &FOLLOWER, log).await.last_event,
        Some(seen(5, 0))
    );
    make(&store, step_from(5, log).to(9).with_note("key", "value")).await;
    assert_eq!(
        notebook_of(&fresh, &FOLLOWER, log).await.last_event,
        Some(seen(5, 0)),
        "a step that names none keeps it"
    );

    let refused = store
        .append(append().with_tracking(step_from(5, log).to(12).with_last_event(seen(12, 255))))
        .await;
    assert!(
        matches!(refused, Err(StoreError::TrackingConflict { .. })),
        "the follower is at 9, but {refused:?}"
    );
    assert_eq!(
        notebook_of(&fresh, &FOLLOWER, log).await.last_event,
        Some(seen(5, 0)),
        "nothing may be written"
    );
    make(
        &store,
        step_from(9, log).to(12).with_last_event(seen(12, 255)),
    )
    .await;
    make(
        &store,
        step_from(0, LogId::new()).to(1).with_last_event(seen(1, 7)),
    )
    .await;
    make(
        &store,
        step_from(0, log)
            .by("other")
            .to(1)
            .with_last_event(seen(1, 8)),
    )
    .await;
    assert_eq!(
        notebook_of(&fixture.open().await, &FOLLOWER, log)
            .await
            .last_event,
        Some(seen(12, 255))
    );
}
