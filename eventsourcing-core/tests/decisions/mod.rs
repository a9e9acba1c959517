//! Decisions: the types alone say whether a command can be rejected, and nothing has to be annotated.

use eventsourcing_core::store::{CommandId, MemoryStore, StoreError, Version};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, CommandError, Created, Fold, Id, Receipt,
    ReceiptKind, Root, UnexpectedEvent, event,
};
use eventsourcing_testing::Scenario;
use serde::{Deserialize, Serialize};

use crate::domain::{Jar, JarEvent, NotEnough};

fn app() -> Application {
    Application::new("jars", MemoryStore::new())
}

/// A command that cannot be rejected: its error is the application's.
type Certain = Result<Receipt, ApplicationError>;
/// A command that the domain may reject.
type Rejectable = Result<Receipt, CommandError<NotEnough>>;

#[tokio::test]
async fn commands_that_cannot_be_rejected_fail_as_the_application_does() {
    let app = app();
    let Created { id, receipt } = app.create(|| JarEvent::Filled { beans: 1 }).await.unwrap();
    assert_eq!(receipt.kind, ReceiptKind::Recorded);
    let added = |beans: u32| JarEvent::Added { beans };
    let one: Certain = app.update(id, |jar| added(jar.beans)).await;
    let some: Certain = app
        .update(id, |jar| (jar.beans == 2).then_some(added(3)))
        .await;
    let two: Certain = app.update(id, |jar| [added(jar.beans), added(1)]).await;
    let three: Certain = app.update(id, |_| vec![added(1), added(1), added(1)]).await;
    for receipt in [one, some, two, three] {
        assert_eq!(receipt.unwrap().kind, ReceiptKind::Recorded);
    }
    let root = app.load(id).await.unwrap();
    assert_eq!((root.beans, root.version()), (14, Version::new(8)));
}

#[tokio::test]
async fn a_decision_without_events_records_nothing_in_any_spelling() {
    let app = app();
    let Created { id, receipt } = app.create(|| JarEvent::Filled { beans: 1 }).await.unwrap();
    let none = app.update(id, |_| None).await.unwrap();
    let array = app.update(id, |_| []).await.unwrap();
    let vec = app.update(id, |_| Vec::new()).await.unwrap();
    let fallible: Rejectable = app.update(id, |_| Ok(None)).await;
    for nothing in [none, array, vec, fallible.unwrap()] {
        assert_eq!(nothing.kind, ReceiptKind::NothingRecorded);
        assert_eq!(nothing.position, receipt.position);
    }
    assert_eq!(app.load(id).await.unwrap().version(), Version::FIRST);
}

#[tokio::test]
async fn rejections_reach_the_caller_as_they_are() {
    let app = app();
    let id = app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap()
        .id;
    let rejected: Rejectable = app.update(id, |jar| jar.take(2)).await;
    let left = |outcome: Rejectable| match outcome {
        Err(CommandError::Rejected(NotEnough { left })) => left,
        outcome => panic!("not rejected: {outcome:?}"),
    };
    assert_eq!(left(rejected), 1);
    // Several kinds of decisions may be wrapped in a `Result`.
    let early: Rejectable = app
        .update(id, |jar| {
            if jar.beans < 2 {
                return Err(NotEnough { left: jar.beans });
            }
            Ok([JarEvent::Added { beans: 1 }])
        })
        .await;
    assert_eq!(left(early), 1);
    let created = app
        .create(|| match id == Id::new() {
            true => Ok(JarEvent::Filled { beans: 1 }),
            false => Err(NotEnough { left: 7 }),
        })
        .await;
    assert!(matches!(
        created,
        Err(CommandError::Rejected(NotEnough { left: 7 }))
    ));
}

#[tokio::test]
async fn updates_of_several_aggregates_are_certain_or_may_be_rejected() {
    let app = app();
    let fill = |beans| move || JarEvent::Filled { beans };
    let from = app.create(fill(3)).await.unwrap().id;
    let to = app.create(fill(0)).await.unwrap().id;
    let certain: Certain = app
        .update_all((from, to), |(from, to)| {
            from.execute(|jar| JarEvent::Taken {
                beans: jar.beans - 2,
            });
            to.execute(|_| Some(JarEvent::Added { beans: 1 }));
        })
        .await;
    assert_eq!(certain.unwrap().kind, ReceiptKind::Recorded);
    let rejectable = async |beans| {
        let moved = app.update_all((from, to), |(from, to)| {
            to.record(JarEvent::Added { beans });
            from.execute(|jar| jar.take(beans))
        });
        moved.await
    };
    let moved: Rejectable = rejectable(1).await;
    assert_eq!(moved.unwrap().kind, ReceiptKind::Recorded);
    let rejected: Rejectable = rejectable(2).await;
    assert!(matches!(
        rejected,
        Err(CommandError::Rejected(NotEnough { left: 1 }))
    ));
    assert_eq!(app.load(from).await.unwrap().beans, 1);
    assert_eq!(app.load(to).await.unwrap().beans, 2, "all or none");
}

#[tokio::test]
async fn a_repeated_creation_has_the_first_id_and_receipt() {
    let store = MemoryStore::new();
    let app = Application::new("jars", store.clone());
    let command = CommandId::new();
    let first = app
        .command(command)
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap();
    assert_eq!(first.receipt.command_id, Some(command));
    app.update(first.id, |_| JarEvent::Added { beans: 1 })
        .await
        .unwrap();
    // Another process, in which the rules have changed meanwhile.
    let app = Application::new("jars", store);
    let again = app
        .command(command)
        .create(|| JarEvent::Filled { beans: 9 })
        .await
        .unwrap();
    let rejected = app
        .command(command)
        .create(|| match again.id == first.id {
            true => Err(NotEnough { left: 0 }),
            false => Ok(JarEvent::Filled { beans: 9 }),
        })
        .await
        .unwrap();
    for repeated in [&again, &rejected] {
        assert_eq!((repeated.id, repeated.receipt), (first.id, first.receipt));
    }
    assert_eq!(app.load(first.id).await.unwrap().beans, 2);
}

#[tokio::test]
async fn attempts_of_both_kinds_are_repeated_after_a_conflict() {
    let app = app();
    let id = app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap()
        .id;
    let conflict = |_: Receipt| -> ApplicationError {
        let stale = StoreError::Conflict {
            stream: id.stream(),
            expected: eventsourcing_core::store::Expected::Exact(Version::ZERO),
            actual: Version::FIRST,
        };
        stale.into()
    };
    let attempts = std::sync::atomic::AtomicU32::new(0);
    let attempt = || async {
        let receipt = app.update(id, |jar| jar.add(1)).await;
        match attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 | 2 => Err(conflict(receipt.unwrap())),
            _ => Ok(receipt.unwrap()),
        }
    };
    let certain: Certain = app.retry(attempt).await;
    certain.unwrap();
    let rejectable: Rejectable = app
        .retry(|| async { attempt().await.map_err(CommandError::Application) })
        .await;
    rejectable.unwrap();
    assert_eq!(attempts.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[test]
fn a_root_answers_with_a_result_only_if_it_may_be_rejected() {
    let mut jar =
        Root::<Jar>::create([JarEvent::Filled { beans: 1 }, JarEvent::Added { beans: 1 }]);
    jar.execute(|jar| JarEvent::Added { beans: jar.beans });
    assert_eq!(jar.execute(|jar| jar.take(5)), Err(NotEnough { left: 4 }));
    assert_eq!((jar.beans, jar.pending().len()), (4, 3), "as before");
    assert_eq!(jar.execute(|jar| jar.take(4)), Ok(()));
    jar.record(None);
    assert_eq!((jar.beans, jar.pending().len()), (0, 4));
}

#[test]
fn scenarios_take_decisions_of_both_kinds() {
    Jar::given(JarEvent::Filled { beans: 1 })
        .when(|jar| Some(JarEvent::Added { beans: jar.beans }))
        .then(JarEvent::Added { beans: 1 })
        .then_state(|jar| assert_eq!(jar.beans, 2));
    Jar::given(JarEvent::Filled { beans: 1 })
        .when(|jar| jar.take(2))
        .then_rejected(NotEnough { left: 1 });
    Jar::given(JarEvent::Filled { beans: 1 })
        .when(|_| [])
        .then_nothing();
    Jar::given_nothing()
        .when(|| JarEvent::Filled { beans: 2 })
        .then([JarEvent::Filled { beans: 2 }]);
}

/// An event type of another name, which two aggregates share.
mod shared {
    use super::{Deserialize, Serialize, event};

    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Movement {
        Hung,
        Moved { by: i32 },
    }
}

macro_rules! moving {
    ($($aggregate:ident),*) => {$(
        #[derive(Aggregate, Debug, PartialEq, Serialize, Deserialize)]
        #[aggregate(event = shared::Movement)]
        struct $aggregate {
            angle: i32,
        }

        impl Fold<shared::Movement> for $aggregate {
            fn create(event: shared::Movement) -> Result<Self, UnexpectedEvent> {
                match event {
                    shared::Movement::Hung => Ok(Self { angle: 0 }),
                    shared::Movement::Moved { .. } => Err(UnexpectedEvent),
                }
            }
            fn apply(&mut self, event: shared::Movement) -> Result<(), UnexpectedEvent> {
                match event {
                    shared::Movement::Hung => return Err(UnexpectedEvent),
                    shared::Movement::Moved { by } => self.angle += by,
                }
                Ok(())
            }
        }
    )*};
}

moving!(Door, Gate);

#[tokio::test]
async fn aggregates_that_share_an_event_type_are_told_apart_by_the_id() {
    let app = app();
    let door: Created<Door> = app.create(|| shared::Movement::Hung).await.unwrap();
    let gate: Created<Gate> = app.create(|| shared::Movement::Hung).await.unwrap();
    app.update(door.id, |door| shared::Movement::Moved {
        by: door.angle + 3,
    })
    .await
    .unwrap();
    app.update(gate.id, |gate| shared::Movement::Moved {
        by: gate.angle + 5,
    })
    .await
    .unwrap();
    assert_eq!(
        app.load(door.id).await.unwrap().into_state(),
        Door { angle: 3 }
    );
    assert_eq!(
        app.load(gate.id).await.unwrap().into_state(),
        Gate { angle: 5 }
    );
}

/// Code that is generic over the aggregate infers the same.
async fn create_and_change<A: Aggregate>(
    app: &Application,
    first: impl Fn() -> A::Event + Send + Sync,
    next: impl Fn(&A) -> A::Event + Send + Sync,
) -> Result<Root<A>, ApplicationError> {
    let Created { id, .. } = app.create::<A, _>(&first).await?;
    app.update(id, &next).await?;
    app.update(id, |aggregate| Some(next(aggregate))).await?;
    app.load(id).await
}

#[tokio::test]
async fn generic_code_needs_no_further_bounds() {
    let jar = create_and_change::<Jar>(
        &app(),
        || JarEvent::Filled { beans: 1 },
        |jar| JarEvent::Added { beans: jar.beans },
    )
    .await
    .unwrap();
    assert_eq!(jar.beans, 4);
}

#[tokio::test]
async fn lists_of_aggregates_are_updated_as_tuples_are() {
    let app = app();
    let mut ids: Vec<Id<Jar>> = Vec::new();
    for beans in [3, 0, 5] {
        let created = app.create(|| JarEvent::Filled { beans }).await;
        ids.push(created.unwrap().id);
    }
    // All beans into the last jar, from a list in any order.
    let pour = |jars: &mut Box<[Root<Jar>]>| -> Result<(), NotEnough> {
        let [others @ .., last] = &mut **jars else {
            return Ok(());
        };
        for jar in others {
            let beans = jar.beans;
            jar.execute(|jar| jar.take(beans))?;
            last.record(JarEvent::Added { beans });
        }
        Ok(())
    };
    let poured: Rejectable = app.update_all(&ids[..], pour).await;
    assert_eq!(poured.unwrap().kind, ReceiptKind::Recorded);
    ids.reverse();
    app.update_all(ids.clone(), pour).await.unwrap();
    let mut beans = Vec::new();
    for id in &ids {
        beans.push(app.load(*id).await.unwrap().beans);
    }
    assert_eq!(beans, [0, 0, 8]);

    let rejected: Rejectable = app
        .update_all(&ids[..], |jars| {
            jars[2].record(JarEvent::Added { beans: 1 });
            jars[0].execute(|jar| jar.take(1))
        })
        .await;
    assert!(matches!(rejected, Err(CommandError::Rejected(_))));
    assert_eq!(app.load(ids[2]).await.unwrap().beans, 8, "all or none");
}

#[tokio::test]
async fn an_empty_list_records_nothing_and_a_repeated_id_is_an_error() {
    let app = app();
    let created = app.create(|| JarEvent::Filled { beans: 1 }).await;
    let id = created.unwrap().id;
    let empty: Certain = app.update_all(Vec::<Id<Jar>>::new(), |_| ()).await;
    assert_eq!(empty.unwrap().kind, ReceiptKind::NothingRecorded);
    let command = CommandId::new();
    for _ in 0..2 {
        let named = app.command(command);
        let empty: Certain = named.update_all(Vec::<Id<Jar>>::new(), |_| ()).await;
        let receipt = empty.unwrap();
        assert_eq!(receipt.kind, ReceiptKind::NothingRecorded);
        assert_eq!(receipt.command_id, Some(command));
    }

    let both = |one: &mut Root<Jar>, other: &mut Root<Jar>| {
        one.record(JarEvent::Added { beans: 1 });
        other.record(JarEvent::Added { beans: 1 });
    };
    let tuple: Certain = app
        .update_all((id, id), |(one, other)| both(one, other))
        .await;
    let list: Certain = app
        .update_all(vec![id, id], |jars| {
            let (one, other) = jars.split_at_mut(1);
            both(&mut one[0], &mut other[0]);
        })
        .await;
    for repeated in [tuple, list] {
        assert!(matches!(
            repeated,
            Err(ApplicationError::Store(StoreError::Invalid { .. }))
        ));
    }
    assert_eq!(app.load(id).await.unwrap().beans, 1);

    let missing: Certain = app.update_all(vec![id, Id::new()], |_| ()).await;
    assert!(matches!(missing, Err(ApplicationError::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_share_an_aggregate_lose_no_update() {
    const TASKS: u32 = 64;
    let app = app();
    let created = app.create(|| JarEvent::Filled { beans: 0 }).await;
    let hot = created.unwrap().id;
    let mut tasks = Vec::new();
    for number in 0..TASKS {
        let app = app.clone();
        tasks.push(tokio::spawn(async move {
            let own = app.create(|| JarEvent::Filled { beans: 0 }).await;
            let own = own.unwrap().id;
            let ids = match number % 2 {
                0 => vec![hot, own],
                _ => vec![own, hot],
            };
            let named = app.command(CommandId::new());
            let handle = [&app, &named][number as usize / 2 % 2];
            let added = handle.update_all(ids, |jars| {
                for jar in jars.iter_mut() {
                    jar.record(JarEvent::Added { beans: 1 });
                }
            });
            added.await.unwrap();
            assert_eq!(app.load(own).await.unwrap().beans, 1);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(app.load(hot).await.unwrap().beans, TASKS);
}
