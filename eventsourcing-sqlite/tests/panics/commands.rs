//! Commands: a panic fails its own command only.

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{CommandId, FollowerStore, Version};
use eventsourcing_core::{Application, CommandError, Id, Receipt};
use eventsourcing_testing::{Fault, FaultyStore, Operation};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::points::{POISON, Point, When, arm, disarm, turn, unharmed};
use crate::shop::{Order, Refusal, TIMEOUT};
use crate::{append_former, orders, place, placed, runtime, stores, whens};

type Answer = Result<Receipt, CommandError<Refusal>>;

/// The points that commands reach.
pub(crate) const OF_COMMANDS: &[Point] = &[
    Point::Decide,
    Point::CloneEvent,
    Point::FoldFirst,
    Point::FoldNext,
    Point::EncodeEvent,
    Point::DecodeEvent,
    Point::EncodeState,
    Point::DecodeState,
    Point::SnapshotPolicy,
    Point::Upcast,
    Point::Split,
    Point::Clock,
    Point::NewId,
    Point::EncodeRefusal,
    Point::DecodeRefusal,
];

/// The points whose panic costs a snapshot only.
const OF_SNAPSHOTS: &[Point] = &[
    Point::EncodeState,
    Point::DecodeState,
    Point::SnapshotPolicy,
];

fn spawn(app: &Application, order: Id<Order>, quantity: u32) -> JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { app.update(order, |order| order.add(quantity)).await })
}

async fn answered<T>(task: JoinHandle<T>, what: &str) -> Result<T, String> {
    let joined = timeout(TIMEOUT, task)
        .await
        .unwrap_or_else(|_| panic!("{what}: no answer"));
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .expect("the injected panic"),
        Err(error) => panic!("{what}: {error}"),
    })
}

/// Returns the stored quantities of an order.
async fn quantities(app: &Application, order: Id<Order>) -> Vec<u32> {
    let history = unharmed(app.history(order)).await.unwrap();
    history
        .iter()
        .map(|event| event.payload.quantity())
        .collect()
}

/// Each kind of command alone, on an order whose history has everything that can be read.
#[test]
fn a_panic_in_a_command_reaches_its_caller_and_leaves_nothing_behind() {
    let _turn = turn();
    let mut fired = Vec::new();
    for &point in OF_COMMANDS {
        for when in whens() {
            for (kind, store) in stores() {
                let what = format!("{point:?}, {when:?}, {kind}");
                if runtime().block_on(alone(store, point, when, &what)) {
                    fired.push(point);
                }
            }
        }
    }
    for point in OF_COMMANDS {
        assert!(fired.contains(point), "{point:?} was never reached");
    }
}

/// Returns `true` if there was a panic.
async fn alone(store: Arc<dyn FollowerStore>, point: Point, when: When, what: &str) -> bool {
    let app = orders(Arc::clone(&store));
    let order = place(&app, POISON).await;
    append_former(&*store, order, Version::FIRST).await;
    let refused = app.command(CommandId::new());
    unharmed(refused.once(refused.update(order, |order| order.refuse(POISON))))
        .await
        .unwrap_err();
    arm(point, when);
    let mut calls: Vec<JoinHandle<()>> = Vec::new();
    // Its cache is empty, so everything is read from the store.
    let fresh = orders(Arc::clone(&store));
    let kept = refused.clone();
    calls.push(tokio::spawn(async move {
        drop(fresh.update(order, |order| order.add(POISON)).await);
    }));
    calls.push(tokio::spawn(async move {
        drop(
            kept.once(kept.update(order, |order| order.refuse(POISON)))
                .await,
        );
    }));
    let creator = app.clone();
    let refusing = app.command(CommandId::new());

    calls.push(tokio::spawn(async move {
        drop(creator.create(|| placed(POISON)).await);
    }));
    calls.push(tokio::spawn(async move {
        drop(
            refusing
                .once(refusing.update(order, |order| order.refuse(POISON)))
                .await,
        );
    }));
    let mut panics = 0;
    for call in calls {
        if let Err(message) = answered(call, what).await {
            assert_eq!(message, format!("injected: {point:?}"), "{what}");
            panics += 1;
        }
    }
    let fired = disarm();
    if OF_SNAPSHOTS.contains(&point) {
        assert_eq!(
            panics, 0,
            "{what}: a snapshot is not worth failing a command for"
        );
    } else {
        assert!(panics > 0 || fired == 0, "{what}: a panic was swallowed");
    }
    // Both applications continue, and decide on the stored state.
    for app in [app.clone(), orders(Arc::clone(&store))] {
        let before: u32 = quantities(&app, order).await.iter().sum();
        answered(spawn(&app, order, 1), what)
            .await
            .unwrap()
            .unwrap();
        let now = app.load(order).await.unwrap();
        assert_eq!(now.total, before + 1, "{what}");
    }
    fired > 0
}

/// A command whose code panics, among three others that share its append.
#[test]
fn other_commands_of_the_same_batch_are_unharmed() {
    let _turn = turn();
    for &point in OF_COMMANDS {
        for when in whens() {
            for place in 0..4 {
                for (kind, store) in stores() {
                    let what = format!("{point:?}, {when:?}, {kind}, number {place}");
                    runtime().block_on(in_a_batch(store, point, when, place, &what));
                }
            }
        }
    }
}

async fn in_a_batch(
    store: Arc<dyn FollowerStore>,
    point: Point,
    when: When,
    bad: usize,
    what: &str,
) {
    const A_WHILE: Duration = Duration::from_millis(15);
    let store = Arc::new(FaultyStore::new(store));
    let app = orders(Arc::clone(&store));
    let order = place(&app, 1).await;
    unharmed(app.update(order, |order| order.add(2)))
        .await
        .unwrap();
    store.fail_next(Operation::Append, Fault::Delay(A_WHILE));
    let appends = store.calls(Operation::Append);
    let busy = spawn(&app, order, 3);
    // Before its append is under way, this command might meet the panic itself.
    while store.calls(Operation::Append) == appends {
        sleep(A_WHILE / 15).await;
    }
    arm(point, when);
    let mut commands: Vec<_> = (0..4)
        .map(|number| {
            spawn(
                &app,
                order,
                if number == bad {
                    POISON
                } else {
                    100 + number as u32
                },
            )
        })
        .collect();
    answered(busy, what).await.unwrap().unwrap();
    // These points are reached for any command, and the first one to reach them panics.
    let is_of_nobody = matches!(point, Point::Clock | Point::NewId);
    let mut expected = vec![1, 2, 3];
    let poisonous = answered(commands.remove(bad), what).await;
    for (command, number) in commands
        .into_iter()
        .zip((0..4).filter(|number| *number != bad))
    {
        match answered(command, what).await {
            Ok(answer) => {
                answer.unwrap_or_else(|error| panic!("{what}: {error}"));
                expected.push(100 + number as u32);
            }
            Err(message) => assert!(
                is_of_nobody,
                "{what}: another command was harmed: {message}"
            ),
        }
    }
    match poisonous {
        Ok(answer) => {
            answer.unwrap_or_else(|error| panic!("{what}: {error}"));
            expected.push(POISON);
        }
        Err(message) => assert_eq!(message, format!("injected: {point:?}"), "{what}"),
    }
    disarm();
    let mut stored = quantities(&app, order).await;
    stored.sort_unstable();
    expected.sort_unstable();
    assert_eq!(
        stored, expected,
        "{what}: each that was acknowledged is there once"
    );
    answered(spawn(&app, order, 7), what)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        app.load(order).await.unwrap().total,
        expected.iter().sum::<u32>() + 7,
        "{what}"
    );
}
