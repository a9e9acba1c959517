//! Repeated commands: the first answer stays, and so do the ids of new aggregates.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsourcing_core::store::{CommandId, EventStore, MemoryStore, Position, StoreError};
use eventsourcing_core::{
    Application, ApplicationError, CommandError, Created, Id, Metadata, Receipt, ReceiptKind,
    RetryPolicy, Root,
};
use eventsourcing_testing::{Fault, FaultyStore, Operation};

use crate::domain::{Jar, JarEvent, NotEnough};
use crate::{add, app, jar};

type Answer = Result<Receipt, CommandError<NotEnough>>;

/// A decision that fills a jar up to at least this number of beans.
fn fill_up(jar: &Jar, beans: u32) -> Result<Option<JarEvent>, NotEnough> {
    Ok((jar.beans < beans).then(|| JarEvent::Added {
        beans: beans - jar.beans,
    }))
}

/// A way to carry out a command for at least `beans` in the first jar.
#[derive(Clone, Copy, Debug)]
enum Way {
    Update,
    Once,
    UpdateAll,
    Save,
    SaveSeveral,
    Retry,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Update,
        Self::Once,
        Self::UpdateAll,
        Self::Save,
        Self::SaveSeveral,
        Self::Retry,
    ];

    async fn ask(self, app: &Application, [one, two]: [Id<Jar>; 2], beans: u32) -> Answer {
        match self {
            Self::Update => app.update(one, |jar| fill_up(jar, beans)).await,
            Self::Once => app.once(app.update(one, |jar| fill_up(jar, beans))).await,
            Self::UpdateAll => {
                let decide =
                    |(one, _): &mut (Root<Jar>, Root<Jar>)| one.execute(|jar| fill_up(jar, beans));
                app.update_all((one, two), decide).await
            }
            Self::Save => {
                let mut root = app.load(one).await?;
                root.execute(|jar| fill_up(jar, beans))
                    .map_err(CommandError::Rejected)?;
                Ok(app.save(&mut root).await?)
            }
            Self::SaveSeveral => {
                let mut root = app.load(one).await?;
                let mut other = app.load(two).await?;

                root.execute(|jar| fill_up(jar, beans))
                    .map_err(CommandError::Rejected)?;
                let guard = other.guard();
                Ok(app.save((&mut root, &mut other, guard)).await?)
            }
            Self::Retry => {
                app.retry(|| async {
                    let mut root = app.load(one).await?;
                    root.execute(|jar| fill_up(jar, beans))
                        .map_err(CommandError::Rejected)?;
                    Ok(app.save(&mut root).await?)
                })
                .await
            }
        }
    }
}

#[tokio::test]
async fn a_command_that_had_nothing_to_record_gets_its_first_receipt() {
    for way in Way::ALL {
        for is_cached in [false, true] {
            let store = Arc::new(FaultyStore::new(MemoryStore::new()));
            let ours = app(Arc::clone(&store));
            let others = app(Arc::clone(&store));

            let jars = [jar(&ours, 3).await, jar(&ours, 0).await];
            if is_cached {
                add(&ours, jars[0], 0).await;
            }
            let command = CommandId::new();
            let newest = store.newest_position().await.unwrap();

            let before = [
                store.calls(Operation::Append),
                store.calls(Operation::Receipt),
            ];
            let first = way.ask(&ours.command(command), jars, 3).await.unwrap();
            assert_eq!(
                (first.kind, first.command_id),
                (ReceiptKind::NothingRecorded, Some(command)),
                "{way:?}"
            );
            assert_eq!(
                (first.position, first.log),
                (newest, store.log_id()),
                "{way:?}: what it was decided on"
            );
            let [appends, receipts] = before;
            let after = [
                store.calls(Operation::Append),
                store.calls(Operation::Receipt),
            ];
            assert_eq!(
                after,
                [appends + 1, receipts],
                "{way:?}: one write, and no read for it"
            );
            assert_eq!(
                store.head().await.unwrap(),
                newest,
                "{way:?}: it is no event"
            );

            let take = |jar: &Jar| jar.take(2);
            others.update(jars[0], take).await.unwrap();
            for app in [&ours, &others] {
                let command = app.command(command);
                let again = way.ask(&command, jars, 3).await;
                assert_eq!(
                    again.unwrap(),
                    first,
                    "{way:?}, though by now there is something to record"
                );
                assert_eq!(
                    way.ask(&command, jars, 3).await.unwrap(),
                    first,
                    "{way:?}: with the same handle"
                );
                assert_eq!(command.first_receipt().await.unwrap(), Some(first));
            }
            assert_eq!(
                ours.load(jars[0]).await.unwrap().beans,
                1,
                "{way:?}: the others' word stands"
            );
            let new = way
                .ask(&ours.command(CommandId::new()), jars, 3)
                .await
                .unwrap();
            assert_eq!(new.kind, ReceiptKind::Recorded, "{way:?}: another command");
            assert_eq!(ours.load(jars[0]).await.unwrap().beans, 3);
        }
    }
}

#[tokio::test]
async fn without_an_id_nothing_is_written_and_the_receipt_stands_for_what_was_there() {
    for way in Way::ALL {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let app = app(Arc::clone(&store));
        let jars = [jar(&app, 3).await, jar(&app, 0).await];
        let appends = store.calls(Operation::Append);
        let receipt = way.ask(&app, jars, 3).await.unwrap();
        assert_eq!(store.calls(Operation::Append), appends, "{way:?}");
        assert_eq!(
            (receipt.kind, receipt.command_id),
            (ReceiptKind::NothingRecorded, None),
            "{way:?}"
        );
        assert_eq!(
            (receipt.position, receipt.log),
            (store.head().await.unwrap(), store.log_id()),
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn a_rejection_and_nothing_to_record_exclude_each_other() {
    let app = app(MemoryStore::new());
    let jars = [jar(&app, 3).await, jar(&app, 0).await];
    let command = app.command(CommandId::new());
    let first = Way::Update.ask(&command, jars, 3).await.unwrap();
    let late: Answer = command.refuse(NotEnough { left: 0 }).await;
    assert_eq!(late.unwrap(), first, "it cannot be rejected any more");
    let refuses = |jar: &Jar| jar.take(99);
    assert_eq!(
        command.update(jars[0], refuses).await.unwrap(),
        first,
        "nor by the domain"
    );
    assert_eq!(
        command.first_answer::<NotEnough>().await.unwrap(),
        Some(Ok(first))
    );

    let command = app.command(CommandId::new());
    let rejected: Answer = command.refuse(NotEnough { left: 7 }).await;
    assert!(matches!(
        rejected,
        Err(CommandError::Rejected(NotEnough { left: 7 }))
    ));
    for way in Way::ALL {
        match way.ask(&command, jars, 3).await {
            Err(CommandError::Rejected(NotEnough { left: 7 })) if matches!(way, Way::Once) => {}
            Err(CommandError::Application(ApplicationError::Rejected { .. })) => {}
            other => panic!("{way:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lost_reply_about_nothing_changes_nothing() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = app(Arc::clone(&store));
    let jars = [jar(&app, 3).await, jar(&app, 0).await];
    let command = app.command(CommandId::new());
    store.fail_next(Operation::Append, Fault::LostReply);
    let first = Way::Update.ask(&command, jars, 3).await.unwrap();
    assert_eq!(
        first.kind,
        ReceiptKind::NothingRecorded,
        "it is tried again"
    );
    let hasty = app.clone().with_retry(RetryPolicy::once());
    for (fault, is_kept) in [(Fault::LostReply, true), (Fault::Unavailable, false)] {
        let command = hasty.command(CommandId::new());
        store.fail_next(Operation::Append, fault);
        let error = Way::Update.ask(&command, jars, 3).await.unwrap_err();
        assert!(
            matches!(error, CommandError::Application(error) if error.is_unavailable()),
            "the outcome is not known"
        );
        let kind = Way::Update.ask(&command, jars, 9).await.unwrap().kind;
        assert_eq!(
            kind,
            if is_kept {
                ReceiptKind::NothingRecorded
            } else {
                ReceiptKind::Recorded
            }
        );
    }
}

/// A way to get an id within a command.
#[derive(Clone, Copy, Debug)]
enum Drawing {
    Retry,
    Update,
    UpdateAll,
    Create,
    CreateInRetry,
}

impl Drawing {
    const ALL: [Self; 5] = [
        Self::Retry,
        Self::Update,
        Self::UpdateAll,
        Self::Create,
        Self::CreateInRetry,
    ];

    /// Carries out a command that gets an id in each attempt, and keeps all ids.
    async fn run(
        self,
        app: &Application,
        jars: [Id<Jar>; 2],
        drawn: &Mutex<Vec<Id<Jar>>>,
    ) -> Result<(), ApplicationError> {
        let draw = || {
            let id = app.new_id::<Jar>();
            drawn.lock().unwrap().push(id);
            id
        };
        let note = |created: Created<Jar>| drawn.lock().unwrap().push(created.id);
        let new = || Ok(JarEvent::Filled { beans: 1 });
        let [one, two] = jars;
        let outcome = match self {
            Self::Retry => {
                let attempt = || async {
                    let mut root = app.load(one).await?;
                    root.record(JarEvent::Added { beans: 1 });
                    let mut new = Root::with_id(draw(), JarEvent::Filled { beans: 1 });
                    app.save((&mut root, &mut new))
                        .await
                        .map(drop)
                        .map_err(CommandError::Application)
                };
                app.retry(attempt).await
            }
            Self::Update => app
                .update(one, |jar| drop_id(draw(), jar.add(1)))
                .await
                .map(drop),
            Self::UpdateAll => {
                let decide = |(one, two): &mut (Root<Jar>, Root<Jar>)| {
                    one.execute(|jar| drop_id(draw(), jar.add(1)))?;
                    two.execute(|jar| jar.add(1))
                };
                app.update_all((one, two), decide).await.map(drop)
            }
            Self::Create => app.create(new).await.map(note),
            Self::CreateInRetry => app.retry(|| app.create(new)).await.map(note),
        };
        outcome.map_err(|rejected: CommandError<NotEnough>| match rejected {
            CommandError::Application(error) => error,
            CommandError::Rejected(refusal) => panic!("{refusal}"),
        })
    }
}

fn drop_id<T>(_: Id<Jar>, decided: T) -> T {
    decided
}

#[tokio::test]
async fn ids_of_new_aggregates_are_the_same_in_every_attempt() {
    for drawing in Drawing::ALL {
        for is_cached in [false, true] {
            let store = Arc::new(FaultyStore::new(MemoryStore::new()));
            let app = app(Arc::clone(&store));
            let jars = [jar(&app, 3).await, jar(&app, 0).await];
            if is_cached {
                add(&app, jars[0], 1).await;
            }
            let command = CommandId::new();
            let drawn = Mutex::default();

            let handle = app.command(command);
            if !matches!(drawing, Drawing::Create) {
                store.fail_next(Operation::Append, Fault::Conflict);
            }
            drawing.run(&handle, jars, &drawn).await.unwrap();
            let head = store.head().await.unwrap();
            drawing.run(&handle, jars, &drawn).await.unwrap();
            drawing
                .run(&app.command(command), jars, &drawn)
                .await
                .unwrap();
            assert_eq!(
                store.head().await.unwrap(),
                head,
                "{drawing:?}: it was carried out once"
            );
            let drawn = drawn.into_inner().unwrap();
            assert!(drawn.len() >= 3, "{drawing:?} has drawn {drawn:?}");
            assert!(
                drawn.iter().all(|id| *id == drawn[0]),
                "{drawing:?} (cached: {is_cached}): {drawn:?}"
            );
        }
    }
}

/// A caller whose outcome is not known repeats the command with the same handle.
#[tokio::test]
async fn a_repetition_after_a_lost_reply_draws_the_same_ids() {
    for drawing in Drawing::ALL {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let app = app(Arc::clone(&store)).with_retry(RetryPolicy::once());
        let jars = [jar(&app, 3).await, jar(&app, 0).await];
        let handle = app.command(CommandId::new());
        let drawn = Mutex::default();

        store.fail_next(Operation::Append, Fault::LostReply);
        let unknown = drawing.run(&handle, jars, &drawn).await.unwrap_err();
        assert!(unknown.is_unavailable(), "{drawing:?}: {unknown}");
        let head = store.head().await.unwrap();
        drawing.run(&handle, jars, &drawn).await.unwrap();
        assert_eq!(
            store.head().await.unwrap(),
            head,
            "{drawing:?}: it was carried out before"
        );
        let drawn = drawn.into_inner().unwrap();
        assert!(
            drawn.iter().all(|id| *id == drawn[0]),
            "{drawing:?}: {drawn:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_gives_its_ids_back() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = app(Arc::clone(&store));
    let jars = [jar(&app, 3).await, jar(&app, 0).await];
    for drawing in Drawing::ALL {
        let handle = app.command(CommandId::new());
        let drawn = Mutex::default();

        store.fail_next(Operation::Append, Fault::Delay(Duration::from_secs(9)));
        let hasty =
            tokio::time::timeout(Duration::from_secs(1), drawing.run(&handle, jars, &drawn));
        assert!(hasty.await.is_err(), "{drawing:?} has to wait");
        drawing.run(&handle, jars, &drawn).await.unwrap();
        let drawn = drawn.into_inner().unwrap();
        assert!(
            drawn.iter().all(|id| *id == drawn[0]),
            "{drawing:?}: {drawn:?}"
        );
    }
}

#[tokio::test]
async fn ids_made_before_a_retry_are_not_made_again_in_it() {
    let app = app(MemoryStore::new());
    let command = app.command(CommandId::new());
    let before: Id<Jar> = command.new_id();
    let attempts = Mutex::new(Vec::new());
    let saved: Result<_, CommandError<NotEnough>> = command
        .retry(|| async {
            let with = command.with(Metadata::actor("teller"));
            attempts
                .lock()
                .unwrap()
                .push([command.new_id::<Jar>(), with.new_id()]);
            if attempts.lock().unwrap().len() < 3 {
                let conflict = StoreError::Conflict {
                    stream: before.stream(),
                    expected: eventsourcing_core::store::Expected::NoStream,
                    actual: eventsourcing_core::store::Version::FIRST,
                };
                return Err(conflict.into());
            }
            Ok(())
        })
        .await;
    saved.unwrap();
    let attempts = attempts.into_inner().unwrap();
    assert_eq!(attempts, [attempts[0]; 3]);
    let [one, two] = attempts[0];
    assert!(
        before != one && before != two && one != two,
        "{before} {attempts:?}"
    );
}

#[tokio::test]
async fn a_creation_is_answered_as_an_update_is() {
    let app = app(MemoryStore::new());
    let command = CommandId::new();
    let create = async |allowed: bool, command: CommandId| {
        let decide = || match allowed {
            true => Ok(JarEvent::Filled { beans: 1 }),
            false => Err(NotEnough { left: 0 }),
        };
        app.command(command)
            .create(decide)
            .await
            .map(|created| created.id)
    };
    let id = create(true, command).await.unwrap();
    assert_eq!(
        create(false, command).await.unwrap(),
        id,
        "it was carried out, though it would be refused by now"
    );
    let other = CommandId::new();
    let refused = create(false, other).await.unwrap_err();
    assert!(
        matches!(refused, CommandError::Rejected(NotEnough { left: 0 })),
        "nothing is kept"
    );
    assert_ne!(create(true, other).await.unwrap(), id);

    let kept = CommandId::new();
    let _: Answer = app.command(kept).refuse(NotEnough { left: 7 }).await;
    for allowed in [true, false] {
        let error = create(allowed, kept).await.unwrap_err();
        assert!(
            matches!(
                error,
                CommandError::Application(ApplicationError::Rejected { .. })
            ),
            "{error}"
        );
    }
    assert_eq!(
        app.ids::<Jar>(Position::ZERO, 9).await.unwrap().ids.len(),
        2
    );
}
