//! Kept rejections: a command is carried out or rejected, and a repetition gets the same answer.
#![allow(clippy::unwrap_used)]

mod domain;
mod repeated;

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Jar, JarEvent, NotEnough};
use eventsourcing_core::store::{
    CommandId, EventStore, FollowerStore, MemoryStore, Position, StoreError, Version,
};
use eventsourcing_core::{
    Application, ApplicationError, CommandError, Id, Receipt, RetryPolicy, Root,
};
use eventsourcing_testing::{Fault, FaultyStore, Operation, Seed};

type Taken = Result<Receipt, CommandError<NotEnough>>;

fn app(store: impl FollowerStore) -> Application {
    Application::new("jars", store)
}

async fn jar(app: &Application, beans: u32) -> Id<Jar> {
    app.create(|| JarEvent::Filled { beans }).await.unwrap().id
}

async fn add(app: &Application, id: Id<Jar>, beans: u32) {
    app.update(id, |jar| jar.add(beans)).await.unwrap();
}

/// Takes beans with a kept rejection.
async fn take(app: &Application, id: Id<Jar>, beans: u32) -> Taken {
    app.once(app.update(id, |jar| jar.take(beans))).await
}

fn left(taken: Taken) -> u32 {
    match taken {
        Err(CommandError::Rejected(NotEnough { left })) => left,
        other => panic!("it is refused, but {other:?}"),
    }
}

#[tokio::test]
async fn a_refused_command_stays_refused() {
    let app = app(MemoryStore::new());
    let id = jar(&app, 3).await;
    let command = CommandId::new();
    let head = app.store().head().await.unwrap();
    assert_eq!(left(take(&app.command(command), id, 5).await), 3);
    assert_eq!(
        app.store().head().await.unwrap(),
        head,
        "a refusal is no event"
    );
    add(&app, id, 9).await;
    for _ in 0..3 {
        assert_eq!(
            left(take(&app.command(command), id, 5).await),
            3,
            "what was left the first time"
        );
    }
    assert_eq!(app.load(id).await.unwrap().version(), Version::new(2));
    take(&app.command(CommandId::new()), id, 5).await.unwrap();
}

#[tokio::test]
async fn a_command_that_was_carried_out_gets_its_receipt() {
    let app = app(MemoryStore::new());
    let id = jar(&app, 5).await;
    let command = app.command(CommandId::new());
    let first = take(&command, id, 5).await.unwrap();
    assert_eq!(
        take(&command, id, 5).await.unwrap(),
        first,
        "though nothing is left"
    );
    let late: Taken = command.refuse(NotEnough { left: 0 }).await;
    assert_eq!(late.unwrap(), first, "it cannot be refused any more");
    assert_eq!(
        command.first_answer::<NotEnough>().await.unwrap(),
        Some(Ok(first))
    );
}

#[tokio::test]
async fn without_a_command_id_nothing_is_kept() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = app(Arc::clone(&store));
    let id = jar(&app, 3).await;
    let appends = store.calls(Operation::Append);
    assert_eq!(left(take(&app, id, 5).await), 3);
    assert_eq!(store.calls(Operation::Append), appends);
    add(&app, id, 9).await;
    take(&app, id, 5).await.unwrap();
    assert_eq!(app.first_answer::<NotEnough>().await.unwrap(), None);
}

#[tokio::test]
async fn a_save_in_a_rejected_command_fails_and_writes_nothing() {
    let app = app(MemoryStore::new());
    let id = jar(&app, 3).await;
    let other = jar(&app, 3).await;

    let command = app.command(CommandId::new());
    assert_eq!(left(take(&command, id, 5).await), 3);
    add(&app, id, 9).await;
    let head = app.store().head().await.unwrap();

    let refused = |error: &ApplicationError| matches!(error, ApplicationError::Rejected { .. });
    let by_app = |rejected: CommandError<NotEnough>| match rejected {
        CommandError::Application(error) => refused(&error),
        CommandError::Rejected(_) => false,
    };
    assert!(
        by_app(command.update(id, |jar| jar.take(5)).await.unwrap_err()),
        "from the cache or not"
    );
    assert!(by_app(
        command.update(id, |jar| jar.take(5)).await.unwrap_err()
    ));
    assert!(refused(&command.update(id, |_| None).await.unwrap_err()));
    let both = command.update_all((id, other), |(from, to)| {
        from.execute(|jar| jar.take(5))?;
        to.execute(|jar| jar.add(5))
    });
    assert!(by_app(both.await.unwrap_err()));
    let created = command.create(|| JarEvent::Filled { beans: 1 }).await;
    assert!(refused(&created.unwrap_err()));
    let mut loaded = app.load(id).await.unwrap();
    loaded.record(JarEvent::Added { beans: 1 });
    let error = command.save(&mut loaded).await.unwrap_err();
    assert!(refused(&error), "{error}");
    assert_eq!(
        loaded.pending().len(),
        1,
        "what is not saved is still to be saved"
    );
    assert!(refused(&command.first_receipt().await.unwrap_err()));
    assert_eq!(
        command.first_answer().await.unwrap(),
        Some(Err(NotEnough { left: 3 }))
    );
    assert_eq!(app.store().head().await.unwrap(), head);
}

#[tokio::test]
async fn a_refusal_of_another_type_is_not_mistaken_for_this_one() {
    let app = app(MemoryStore::new());
    let id = jar(&app, 3).await;
    let command = app.command(CommandId::new());
    let text: Result<_, CommandError<String>> =
        command.refuse("no beans on Sundays".to_owned()).await;
    assert!(matches!(text, Err(CommandError::Rejected(text)) if text == "no beans on Sundays"));
    let error = take(&command, id, 1).await.unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::Application(ApplicationError::Store(StoreError::Corrupt { .. }))
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_that_is_carried_out_costs_no_more_than_without() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = app(Arc::clone(&store));
    let id = jar(&app, 3).await;
    take(&app, id, 1).await.unwrap();
    let calls = || {
        [
            Operation::Append,
            Operation::Load,
            Operation::Receipt,
            Operation::Notes,
        ]
        .map(|operation| store.calls(operation))
    };
    let before = calls();
    take(&app.command(CommandId::new()), id, 1).await.unwrap();
    let [append, load, receipt, notes] = before;
    assert_eq!(calls(), [append + 1, load, receipt, notes]);
}

#[tokio::test]
async fn a_lost_reply_to_a_refusal_changes_nothing() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = app(Arc::clone(&store));
    let id = jar(&app, 3).await;
    for fault in [Fault::LostReply, Fault::Unavailable] {
        let command = app.command(CommandId::new());
        store.fail_next(Operation::Append, fault);
        assert_eq!(left(take(&command, id, 99).await), 3, "it is tried again");
        assert_eq!(left(take(&command, id, 99).await), 3);
    }
    let app = app.with_retry(RetryPolicy::once());
    for (fault, is_kept) in [(Fault::LostReply, true), (Fault::Unavailable, false)] {
        let command = app.command(CommandId::new());
        let id = jar(&app, 3).await;
        store.fail_next(Operation::Append, fault);
        let error = take(&command, id, 5).await.unwrap_err();
        assert!(
            matches!(error, CommandError::Application(error) if error.is_unavailable()),
            "the outcome is not known"
        );
        add(&app, id, 9).await;
        assert_eq!(take(&command, id, 5).await.is_err(), is_kept);
    }
}

/// A process crashes in each of its calls in turn. The next process repeats the command when there are enough beans.
#[tokio::test]
async fn a_crash_leaves_the_answer_or_nothing() {
    let mut kept = 0;
    let mut anew = 0;

    for nth in 1.. {
        let store = MemoryStore::new();
        let calm = app(store.clone());
        let id = jar(&calm, 3).await;
        let command = CommandId::new();

        let crashing = Arc::new(FaultyStore::new(store).with_crash_in(nth));
        let first = take(
            &app(Arc::clone(&crashing))
                .with_retry(RetryPolicy::once())
                .command(command),
            id,
            5,
        )
        .await;
        add(&calm, id, 9).await;
        let second = take(&calm.command(command), id, 5).await;
        match &second {
            Err(CommandError::Rejected(NotEnough { left: 3 })) => kept += 1,
            Ok(receipt) if receipt.position > Position::ZERO => anew += 1,
            other => panic!("{other:?}"),
        }
        let third = take(&calm.command(command), id, 5).await;
        assert_eq!(
            format!("{second:?}"),
            format!("{third:?}"),
            "from then on it is the answer"
        );
        assert_eq!(
            calm.load(id).await.unwrap().beans,
            if second.is_ok() { 7 } else { 12 }
        );
        if !crashing.has_crashed() {
            assert_eq!(left(first), 3);
            break;
        }
    }
    assert!(kept >= 2 && anew >= 1, "{kept} kept, {anew} decided anew");
}

/// Some requests would be carried out and others rejected, depending on the beans that are left when they arrive.
#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_requests_of_one_command_all_get_one_answer() {
    let seed = Seed::from_env();
    let mut done = 0;
    let mut refused = 0;

    for round in 0..200 {
        let store = MemoryStore::new();
        let calm = app(store.clone());
        let id = jar(&calm, 3).await;
        let command = CommandId::new();
        let mut rng = seed.rng(round);

        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let app = app(store.clone()).command(command);
                let pause = rng.u64(0..4);

                tokio::spawn(async move {
                    for _ in 0..pause {
                        tokio::task::yield_now().await;
                    }
                    take(&app, id, 5).await
                })
            })
            .collect();
        add(&calm, id, 9).await;
        let mut answers = BTreeSet::new();
        for task in tasks {
            let answer = task.await.unwrap();
            answers.insert(format!("{answer:?}"));
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        let beans = calm.load(id).await.unwrap().beans;
        match answers.pop_first().unwrap().starts_with("Ok") {
            true => (done, _) = (done + 1, assert_eq!(beans, 7)),
            false => (refused, _) = (refused + 1, assert_eq!(beans, 12)),
        }
    }
    assert!(
        done > 0 && refused > 0,
        "{done} carried out, {refused} refused"
    );
}

#[tokio::test]
async fn creations_and_whole_saves_are_refused_once_too() {
    let app = app(MemoryStore::new());
    let command = app.command(CommandId::new());
    let create = async |allowed: bool| {
        command
            .once(async {
                let mut jar = Root::<Jar>::with_id(Id::named("jar"), JarEvent::Filled { beans: 1 });
                match allowed {
                    true => Ok(command.save(&mut jar).await?),
                    false => Err(CommandError::Rejected(NotEnough { left: 0 })),
                }
            })
            .await
    };
    assert_eq!(left(create(false).await), 0);
    assert_eq!(left(create(true).await), 0);
    assert!(app.find(Id::<Jar>::named("jar")).await.unwrap().is_none());
}
