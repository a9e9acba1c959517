//! Applications: saving, loading, retrying, remembering commands.
#![allow(clippy::unwrap_used)]

mod decisions;
mod domain;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::{Jar, JarEvent, NotEnough, Shelf, ShelfEvent};
use eventsourcing_core::snapshot::{every, never};
use eventsourcing_core::store::{
    Append, CommandId, EventStore, Load, LogQuery, MemoryStore, Position, StoreError, StreamQuery,
    Version,
};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, CommandError, Id, Metadata, Receipt, ReceiptKind,
    RetryPolicy, Root,
};
use eventsourcing_testing::{Fault, FaultyStore, ManualClock, Operation};
use jiff::Timestamp;

fn app() -> Application {
    Application::new("jars", MemoryStore::new())
}

async fn jar(app: &Application, beans: u32) -> Id<Jar> {
    app.create(|| JarEvent::Filled { beans }).await.unwrap().id
}

async fn beans(app: &Application, id: Id<Jar>) -> u32 {
    app.load(id).await.unwrap().beans
}

#[tokio::test]
async fn what_is_saved_is_loaded() {
    let app = app();
    let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 3 });
    jar.execute(|jar| jar.add(4)).unwrap();
    assert_eq!(
        (
            jar.version().as_u64(),
            jar.stored_version().as_u64(),
            jar.pending().len()
        ),
        (2, 0, 2)
    );
    app.save(&mut jar).await.unwrap();
    assert_eq!(
        (
            jar.version().as_u64(),
            jar.stored_version().as_u64(),
            jar.pending().len()
        ),
        (2, 2, 0)
    );
    jar.record(jar.take(1).unwrap());
    app.save(&mut jar).await.unwrap();
    let loaded = app.load(jar.id()).await.unwrap();
    assert_eq!((loaded.beans, loaded.version()), (6, Version::new(3)));
}

#[tokio::test]
async fn an_unknown_aggregate_is_not_found() {
    let error = app().load(Id::<Jar>::named("nowhere")).await.err().unwrap();
    assert!(
        matches!(
            error,
            ApplicationError::NotFound {
                aggregate: "Jar",
                ..
            }
        ),
        "{error}"
    );
    assert!(
        app()
            .find(Id::<Jar>::named("nowhere"))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        app()
            .history(Id::<Jar>::named("nowhere"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_past_version_is_loaded_and_a_future_one_refused() {
    let app = app();
    let id = jar(&app, 1).await;
    for _ in 0..25 {
        app.update(id, |jar| jar.add(1)).await.unwrap();
    }
    for version in [1, 9, 10, 11, 20, 26] {
        let past = app.load_at(id, Version::new(version)).await.unwrap();
        assert_eq!(u64::from(past.beans), version);
    }
    for version in [0, 27] {
        let error = app.load_at(id, Version::new(version)).await.err().unwrap();
        assert!(
            matches!(error, ApplicationError::NoSuchVersion { latest, .. } if latest == Version::new(26)),
            "{error}"
        );
    }
    let mut past = app.load_at(id, Version::new(5)).await.unwrap();
    past.record(JarEvent::Added { beans: 1 });
    assert!(app.save(&mut past).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn several_aggregates_are_saved_together_or_not_at_all() {
    let app = app();
    let one = jar(&app, 10).await;
    let two = jar(&app, 0).await;

    let mut from = app.load(one).await.unwrap();
    let mut to = app.load(two).await.unwrap();

    from.execute(|jar| jar.take(4)).unwrap();
    to.execute(|jar| jar.add(4)).unwrap();
    app.update(two, |jar| jar.add(1)).await.unwrap();
    assert!(
        app.save((&mut from, &mut to))
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert_eq!((beans(&app, one).await, beans(&app, two).await), (10, 1));
    assert_eq!(
        from.pending().len(),
        1,
        "after an error the events are still to be saved"
    );

    let mut to = app.load(two).await.unwrap();
    to.execute(|jar| jar.add(4)).unwrap();
    let receipt = app.save((&mut from, &mut to)).await.unwrap();
    assert_eq!((beans(&app, one).await, beans(&app, two).await), (6, 5));
    assert_eq!(receipt.position, app.store().head().await.unwrap());
}

#[tokio::test]
async fn aggregates_of_different_kinds_are_saved_together() {
    let app = app();
    let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 3 });
    let mut shelf = Root::<Shelf>::create([ShelfEvent::Built, ShelfEvent::Changed { by: 3 }]);
    app.save((&mut jar, &mut shelf)).await.unwrap();
    assert_eq!(app.load(shelf.id()).await.unwrap().beans, 3);
    let mut jars = [
        Root::<Jar>::create(JarEvent::Filled { beans: 1 }),
        Root::create(JarEvent::Filled { beans: 2 }),
    ];
    app.save(&mut jars[..]).await.unwrap();
    assert_eq!(beans(&app, jars[1].id()).await, 2);
}

#[tokio::test]
async fn a_guard_makes_a_change_elsewhere_a_conflict() {
    let app = app();
    let one = jar(&app, 1).await;
    let two = jar(&app, 1).await;

    let looked_at = app.load(one).await.unwrap();
    let mut changed = app.load(two).await.unwrap();

    changed.record(JarEvent::Added { beans: 1 });
    app.update(one, |jar| jar.add(1)).await.unwrap();
    assert!(
        app.save((&mut changed, looked_at.guard()))
            .await
            .unwrap_err()
            .is_conflict()
    );
    let looked_at = app.load(one).await.unwrap();
    app.save((&mut changed, looked_at.guard())).await.unwrap();
    assert_eq!(beans(&app, two).await, 2);
}

#[tokio::test]
async fn nothing_to_save_writes_nothing() {
    let app = app();
    let id = jar(&app, 1).await;
    let head = app.store().head().await.unwrap();
    let receipt = app.save(&mut app.load(id).await.unwrap()).await.unwrap();
    let nothing = Receipt {
        kind: ReceiptKind::NothingRecorded,
        ..Receipt::at(app.store().log_id(), head)
    };
    assert_eq!(receipt, nothing);
    let receipt = app.update(id, |_| None).await.unwrap();
    assert_eq!(receipt, nothing);
    assert_eq!(app.store().head().await.unwrap(), head);
}

#[tokio::test]
async fn a_refusal_changes_nothing() {
    let app = app();
    let id = jar(&app, 1).await;
    let refusal = app.update(id, |jar| jar.take(2)).await.unwrap_err();
    assert!(
        matches!(refusal, CommandError::Rejected(NotEnough { left: 1 })),
        "{refusal}"
    );
    assert_eq!(app.load(id).await.unwrap().version(), Version::FIRST);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_of_one_aggregate_all_succeed() {
    let app = app();
    let id = jar(&app, 0).await;
    let decisions = Arc::new(AtomicU32::new(0));
    let updates = (0..64).map(|_| {
        let app = app.clone();
        let decisions = Arc::clone(&decisions);

        tokio::spawn(async move {
            let decide = |jar: &Jar| {
                decisions.fetch_add(1, Ordering::Relaxed);
                jar.add(1)
            };
            app.update(id, decide).await
        })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.unwrap().unwrap();
    }
    assert_eq!(beans(&app, id).await, 64);
    assert!(decisions.load(Ordering::Relaxed) >= 64);
}

#[tokio::test]
async fn update_all_moves_both_or_neither() {
    let app = app();
    let one = jar(&app, 5).await;
    let two = jar(&app, 0).await;

    let pour = |beans: u32| {
        app.update_all((one, two), move |(from, to)| {
            from.execute(|jar| jar.take(beans))?;
            to.execute(|jar| jar.add(beans))
        })
    };
    pour(3).await.unwrap();
    assert!(matches!(
        pour(3).await,
        Err(CommandError::Rejected(NotEnough { left: 2 }))
    ));
    assert_eq!((beans(&app, one).await, beans(&app, two).await), (2, 3));
    let twice = app.update_all((one, one), |(from, to)| {
        from.execute(|jar| jar.take(1))?;
        to.execute(|jar| jar.add(1))
    });
    assert!(matches!(
        twice.await,
        Err(CommandError::Application(ApplicationError::Store(
            StoreError::Invalid { .. }
        )))
    ));
    assert_eq!(beans(&app, one).await, 2);
}

#[tokio::test]
async fn a_repeated_command_returns_the_first_receipt_even_if_it_would_be_refused_by_now() {
    let app = app();
    let id = jar(&app, 5).await;
    let command = CommandId::new();
    let first = app
        .command(command)
        .update(id, |jar| jar.take(5))
        .await
        .unwrap();
    let again = app
        .command(command)
        .update(id, |jar| jar.take(5))
        .await
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(first.command_id, Some(command));
    assert_eq!(app.load(id).await.unwrap().version(), Version::new(2));
    let other = app.update(id, |jar| jar.take(5)).await.unwrap_err();
    assert!(matches!(other, CommandError::Rejected(_)));
}

#[tokio::test]
async fn a_repeated_creation_gives_the_first_id() {
    let app = app();
    let command = CommandId::new();
    let first = jar(&app.command(command), 5).await;
    app.update(first, |jar| jar.add(1)).await.unwrap();
    assert_eq!(jar(&app.command(command), 5).await, first);
    assert_eq!(
        app.ids::<Jar>(Position::ZERO, 10).await.unwrap().ids,
        [first]
    );
    let two = app.command(CommandId::new());
    assert_ne!(two.new_id::<Jar>(), two.new_id::<Jar>());
}

#[tokio::test]
async fn a_repeated_save_leaves_the_aggregate_as_the_store_has_it() {
    let app = app();
    let id = jar(&app, 5).await;
    let command = app.command(CommandId::new());
    let mut jar = app.load(id).await.unwrap();
    jar.record(JarEvent::Added { beans: 1 });
    command.save(&mut jar).await.unwrap();
    jar.record(JarEvent::Added { beans: 1 });
    command.save(&mut jar).await.unwrap();
    assert_eq!(
        (jar.beans, jar.version(), jar.pending().len()),
        (6, Version::new(2), 0)
    );
}

#[tokio::test]
async fn a_lost_reply_is_retried_only_with_a_command_id() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone());
    let id = jar(&app, 0).await;
    store.fail_next(Operation::Append, Fault::LostReply);
    let error = app.update(id, |jar| jar.add(1)).await.unwrap_err();
    assert!(matches!(error, CommandError::Application(error) if error.is_unavailable()));
    assert_eq!(
        beans(&app, id).await,
        1,
        "the append was written, but its reply was lost"
    );
    store.fail_next(Operation::Append, Fault::LostReply);
    app.command(CommandId::new())
        .update(id, |jar| jar.add(1))
        .await
        .unwrap();
    assert_eq!(beans(&app, id).await, 2);
}

#[tokio::test]
async fn an_error_claims_no_more_than_is_known_of_all_attempts_of_a_command() {
    use Fault::{Conflict, LostReply, Unavailable};
    for (faults, is_proven) in [
        ([Unavailable, Unavailable, Unavailable], true),
        ([LostReply, Unavailable, Unavailable], false),
        ([Unavailable, LostReply, Unavailable], false),
        ([Unavailable, Unavailable, LostReply], false),
        ([Conflict, Unavailable, Unavailable], true),
    ] {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let retry = RetryPolicy {
            attempts_max: 3,
            ..RetryPolicy::default()
        };
        let app = Application::new("jars", store.clone()).with_retry(retry);
        let id = jar(&app, 0).await;
        let next = store.calls(Operation::Append) + 1;
        for (nth, fault) in (next..).zip(faults).chain([(next + 3, Unavailable)]) {
            store.fail_call(Operation::Append, nth, fault);
        }
        let Err(CommandError::Application(error)) = app
            .command(CommandId::new())
            .update(id, |jar| jar.add(1))
            .await
        else {
            panic!("{faults:?}: no attempt had an answer")
        };
        store.switch_off();
        let was_written = beans(&app, id).await == 1;
        assert_eq!(was_written, faults.contains(&LostReply), "{faults:?}");
        assert_eq!(
            error.proves_nothing_written(),
            is_proven,
            "{faults:?}: {error}"
        );
        let text = error.to_string();
        assert_eq!(
            text.contains("wrote nothing"),
            is_proven,
            "{faults:?}: {text}"
        );
        assert_eq!(
            text.contains("it is not known"),
            !is_proven,
            "{faults:?}: {text}"
        );
    }
}

#[tokio::test]
async fn metadata_is_kept_and_a_correlation_id_made() {
    let clock = ManualClock::new();
    let app = app().with_clock(clock.clone());
    let teller = app.with(Metadata::actor("teller-7").with("branch", "Bern"));
    let id = jar(&teller, 1).await;
    teller.update(id, |jar| jar.add(1)).await.unwrap();
    let history = app.history(id).await.unwrap();
    assert_eq!(history[0].metadata.actor.as_deref(), Some("teller-7"));
    assert_eq!(history[0].metadata.extra["branch"], "Bern");
    assert!(history[0].metadata.correlation_id.is_some());
    assert_ne!(
        history[0].metadata.correlation_id,
        history[1].metadata.correlation_id
    );
    assert_eq!(history[1].payload, JarEvent::Added { beans: 1 });
    assert_eq!(
        history[1].recorded_at, history[0].recorded_at,
        "the clock stood still"
    );
}

#[tokio::test]
async fn snapshots_follow_the_aggregates_policy_and_the_applications() {
    for (snapshots, newest) in [(None, 20), (Some(7), 21), (Some(0), 0)] {
        let app = match snapshots {
            None => app(),
            Some(0) => app().with_snapshots::<Jar>(never()),
            Some(events) => app().with_snapshots::<Jar>(every(events)),
        };
        let id = jar(&app, 1).await;
        for _ in 1..23 {
            app.update(id, |jar| jar.add(1)).await.unwrap();
        }
        let load = Load::new(id.stream()).with_snapshot(<Jar as Aggregate>::FINGERPRINT);
        let loaded = app.store().load(load).await.unwrap();
        assert_eq!(
            loaded
                .snapshot
                .map_or(0, |snapshot| snapshot.version.as_u64()),
            newest
        );
        assert_eq!(loaded.events.len() as u64, 23 - newest);
        assert_eq!(beans(&app, id).await, 23);
    }
}

#[tokio::test]
async fn a_long_aggregate_is_loaded_page_by_page() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", Arc::clone(&store)).with_snapshots::<Jar>(never());
    let mut root = Root::<Jar>::create(JarEvent::Filled { beans: 0 });
    for beans in 1..4_000 {
        root.record(JarEvent::Added { beans });
    }
    app.save(&mut root).await.unwrap();
    let expected = |version: u32| (0..version).sum::<u32>();
    assert_eq!(beans(&app, root.id()).await, expected(4_000));
    assert_eq!(
        store.calls(Operation::Load),
        3,
        "two full pages, and a look whether there is more"
    );
    for version in [1, 1_999, 2_000, 2_001, 3_999] {
        let past = app
            .load_at(root.id(), Version::new(version.into()))
            .await
            .unwrap();
        assert_eq!(past.beans, expected(version), "at version {version}");
    }
    app.snapshot(root.id()).await.unwrap();
    let before = store.calls(Operation::Load);
    assert_eq!(beans(&app, root.id()).await, expected(4_000));
    assert_eq!(store.calls(Operation::Load), before + 1);
    let past = app.load_at(root.id(), Version::new(3_000)).await.unwrap();
    assert_eq!(past.beans, expected(3_000));
    store.fail_next(Operation::Load, Fault::Unavailable);
    assert!(app.load(root.id()).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_snapshot_on_demand_is_used() {
    let app = app().with_snapshots::<Jar>(never());
    let id = jar(&app, 1).await;
    app.snapshot(id).await.unwrap();
    let load = Load::new(id.stream()).with_snapshot(<Jar as Aggregate>::FINGERPRINT);
    assert!(app.store().load(load).await.unwrap().events.is_empty());
    assert_eq!(beans(&app, id).await, 1);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_decoded_is_passed_over() {
    let app = app();
    let id = jar(&app, 1).await;
    let root = app.load(id).await.unwrap();
    let snapshot = eventsourcing_core::store::NewSnapshot {
        stream: id.stream(),
        version: root.version(),
        fingerprint: <Jar as Aggregate>::FINGERPRINT,
        codec: eventsourcing_core::Codec::Json.id(),
        payload: b"{\"peas\":1}".to_vec(),
    };
    app.store()
        .append(Append::new(Timestamp::UNIX_EPOCH).with_snapshot(snapshot))
        .await
        .unwrap();
    assert_eq!(beans(&app, id).await, 1);
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_an_error_that_says_which() {
    let app = app();
    let id = jar(&app, 1).await;
    let mut events = app
        .store()
        .read_stream(StreamQuery::new(id.stream()))
        .await
        .unwrap();
    let event = events.remove(0);
    let strange = eventsourcing_core::store::NewEvent {
        name: "Polished".into(),
        schema_version: 1,
        codec: event.codec,
        payload: b"{}".to_vec(),
        metadata: Vec::new(),
    };
    let append = Append::new(Timestamp::UNIX_EPOCH);
    let append = append.with_events(
        id.stream(),
        eventsourcing_core::store::Expected::Any,
        vec![strange],
    );
    app.store().append(append).await.unwrap();
    let error = app.load(id).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains(&format!("version 2 of Jar {id}")),
        "{error}"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("\"Polished\"") && source.contains("Filled, Added, Taken"),
        "{source}"
    );
}

#[tokio::test]
async fn ids_are_listed_from_the_store_in_pages() {
    let app = app();
    let mut ids = Vec::new();
    for beans in 0..5 {
        ids.push(jar(&app, beans).await);
        app.update(ids[0], |jar| jar.add(1)).await.unwrap();
    }
    app.save(&mut Root::<Shelf>::create(ShelfEvent::Built))
        .await
        .unwrap();
    let first = app.ids::<Jar>(Position::ZERO, 3).await.unwrap();
    let rest = app.ids::<Jar>(first.ceiling, 3).await.unwrap();
    assert_eq!([first.ids, rest.ids].concat(), ids);
    let page = app
        .log(LogQuery::after(Position::ZERO).limit(100))
        .await
        .unwrap();
    assert_eq!(page.decode::<Shelf>().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cached_aggregate_is_not_loaded_again() {
    for (cached, loads) in [(10, 1), (0, 20)] {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let app = Application::new("jars", store.clone()).with_cache(cached);
        let id = jar(&app, 0).await;
        for _ in 0..20 {
            app.update(id, |jar| jar.add(1)).await.unwrap();
        }
        assert_eq!(store.calls(Operation::Load), loads);
        assert_eq!(beans(&app, id).await, 20);
    }
}

#[tokio::test]
async fn the_cache_is_checked_after_every_outcome_of_a_decision() {
    let store = MemoryStore::new();
    let ours = Application::new("jars", store.clone());
    let others = Application::new("jars", store.clone());

    let id = jar(&ours, 1).await;
    ours.update(id, |jar| jar.add(1)).await.unwrap();
    others.update(id, |jar| jar.add(10)).await.unwrap();
    ours.update(id, |jar| jar.take(12))
        .await
        .expect("what others have added can be taken");
    assert_eq!(beans(&ours, id).await, 0);
    others.update(id, |jar| jar.add(5)).await.unwrap();
    ours.update(id, |jar| jar.add(1))
        .await
        .expect("a conflict is decided again");
    assert_eq!(beans(&ours, id).await, 6);
    others.update(id, |jar| jar.take(6)).await.unwrap();
    let refusal = ours.update(id, |jar| jar.take(1)).await.unwrap_err();
    assert!(
        matches!(refusal, CommandError::Rejected(NotEnough { left: 0 })),
        "{refusal}"
    );

    let mut by_hand = ours.load(id).await.unwrap();
    by_hand.record(JarEvent::Added { beans: 2 });
    ours.save(&mut by_hand).await.unwrap();
    ours.update(id, |jar| jar.take(2)).await.unwrap();
    assert_eq!(beans(&ours, id).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_one_aggregate_take_turns_within_a_process() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone());
    let id = jar(&app, 0).await;
    let decisions = Arc::new(AtomicU32::new(0));
    let updates: Vec<_> = (0..200)
        .map(|_| {
            let app = app.clone();
            let decisions = Arc::clone(&decisions);

            let decide = move |jar: &Jar| {
                decisions.fetch_add(1, Ordering::Relaxed);
                jar.add(1)
            };
            tokio::spawn(async move { app.update(id, decide).await.unwrap() })
        })
        .collect();
    for update in updates {
        update.await.unwrap();
    }
    assert_eq!(beans(&app, id).await, 200);
    assert_eq!(
        decisions.load(Ordering::Relaxed),
        200,
        "no update runs into another"
    );
    assert!(store.calls(Operation::Append) <= 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_update_does_not_spoil_the_cache() {
    let app = app();
    let id = jar(&app, 0).await;
    for round in 0..300 {
        let update = app.update(id, |jar| jar.add(1));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round % 30), update).await;
    }
    let stored = app.load(id).await.unwrap();
    app.update(id, |jar| jar.take(jar.beans)).await.unwrap();
    assert_eq!(beans(&app, id).await, 0);
    assert_eq!(u64::from(stored.beans), stored.version().as_u64() - 1);
}
