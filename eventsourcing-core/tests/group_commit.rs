//! Commands that wait for each other are written in one append, and each has its own answer.
#![allow(clippy::unwrap_used)]

mod domain;

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::{Jar, JarEvent, NotEnough};
use eventsourcing_core::snapshot::{Progress, SnapshotPolicy, every};
use eventsourcing_core::store::{
    CommandId, EventStore, Load, LogQuery, MemoryStore, PAYLOAD_BYTES_MAX, Position, StoreError,
    Version,
};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Clock, CommandError, Id, Metadata, Receipt,
    ReceiptKind, RetryPolicy, Root,
};
use eventsourcing_testing::{Fault, FaultRates, FaultyStore, ManualClock, Operation, Seed};
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

type Answer = Result<Receipt, CommandError<NotEnough>>;
type Command<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

const A_WHILE: Duration = Duration::from_secs(1);

/// A jar behind a store that gets one append at a time.
struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    app: Application,
    id: Id<Jar>,
}

impl Place {
    async fn with(beans: u32) -> Self {
        Self::on(FaultyStore::new(MemoryStore::new()), beans).await
    }

    async fn on(store: FaultyStore<MemoryStore>, beans: u32) -> Self {
        let store = Arc::new(store);
        store.switch_off();
        let app = Application::new("jars", store.clone());
        let id = app.create(|| JarEvent::Filled { beans }).await.unwrap().id;
        // From here on the jar is in the cache.
        app.update(id, |jar| jar.add(0)).await.unwrap();
        store.switch_on();
        Self { store, app, id }
    }

    fn add(&self, beans: u32) -> Command<'_> {
        Box::pin(self.app.update(self.id, move |jar| jar.add(beans)))
    }

    fn take(&self, beans: u32) -> Command<'_> {
        Box::pin(self.app.update(self.id, move |jar| jar.take(beans)))
    }

    /// Calls the commands during the append of another one.
    async fn while_busy<'a>(
        &'a self,
        commands: impl IntoIterator<Item = Command<'a>>,
    ) -> Vec<Answer> {
        self.store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
        let all = std::iter::once(self.add(0)).chain(commands);
        let mut answers = join_all(all).await;
        answers.remove(0).unwrap();
        answers
    }

    /// These commands when they have decided, and nothing is written of them yet: another one has its turn, and loads for a while.
    async fn gathered<'a>(
        &'a self,
        commands: [Command<'a>; 2],
    ) -> (
        Pin<Box<dyn Future<Output = Vec<Answer>> + Send + 'a>>,
        AbortHandle,
    ) {
        let [cold] = jars(&Application::new("jars", self.store.clone()), [9]).await;
        self.store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
        let mut first = self.add(0);
        let mut waiting = Box::pin(join_all(commands));
        assert!(timeout(A_WHILE / 2, &mut first).await.is_err());
        assert!(
            timeout(Duration::ZERO, &mut waiting).await.is_err(),
            "they wait behind the first"
        );
        self.store.fail_next(Operation::Load, Fault::Delay(A_WHILE));
        let slow = pour(&self.app, cold, self.id);
        assert!(timeout(A_WHILE / 4, &mut waiting).await.is_err());
        first.await.unwrap();
        let before = self.appends();
        assert!(
            timeout(A_WHILE / 4, &mut waiting).await.is_err(),
            "each has had its turn"
        );
        assert_eq!(self.appends(), before, "nothing is written");
        (waiting, slow.abort_handle())
    }

    /// Waits for the append of the commands that wait for the present append.
    async fn until_the_next_append_is_under_way(&self) {
        sleep(A_WHILE / 2).await;
        self.store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
        sleep(A_WHILE).await;
    }

    fn appends(&self) -> u64 {
        self.store.calls(Operation::Append)
    }

    async fn jar(&self) -> Root<Jar> {
        self.app.load(self.id).await.unwrap()
    }
}

fn all_carried_out(answers: impl IntoIterator<Item = Answer>) {
    for answer in answers {
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn commands_that_wait_share_an_append() {
    let place = Place::with(0).await;
    let before = place.appends();
    let answers = place
        .while_busy((1..=10).map(|beans| place.add(beans)))
        .await;
    assert_eq!(
        place.appends(),
        before + 2,
        "one is under way, and one is for all who waited"
    );
    let head = place.store.head().await.unwrap();
    for answer in answers {
        assert_eq!(
            answer.unwrap().position,
            head,
            "a wait for this position sees the command's events"
        );
    }
    let history = place.app.history(place.id).await.unwrap();
    let added: Vec<_> = history[3..]
        .iter()
        .map(|recorded| recorded.payload.clone())
        .collect();
    assert_eq!(
        added,
        (1..=10)
            .map(|beans| JarEvent::Added { beans })
            .collect::<Vec<_>>(),
        "in the order of asking"
    );
}

#[tokio::test(start_paused = true)]
async fn each_decides_on_what_the_ones_before_it_have_decided() {
    let place = Place::with(3).await;
    let loads = place.store.calls(Operation::Load);
    let answers = place
        .while_busy([
            place.take(2),
            place.take(2),
            place.add(4),
            place.take(5),
            place.take(1),
        ])
        .await;
    let refused = |answer: &Answer| match answer {
        Err(CommandError::Rejected(NotEnough { left })) => Some(*left),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    };
    assert_eq!(
        answers.iter().map(refused).collect::<Vec<_>>(),
        [None, Some(1), None, None, Some(0)]
    );
    assert_eq!(
        place.store.calls(Operation::Load),
        loads,
        "what the append has proved need not be loaded"
    );
    assert_eq!(place.jar().await.beans, 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_records_nothing_is_positioned_after_the_events_of_the_others() {
    let place = Place::with(0).await;
    let nothing: Command<'_> = Box::pin(place.app.update(place.id, |_| Ok([])));
    let answers = place.while_busy([place.add(1), nothing]).await;
    let receipts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        receipts
            .iter()
            .map(|receipt| receipt.position.as_u64())
            .collect::<Vec<_>>(),
        [4, 4]
    );
    let kinds: Vec<_> = receipts.iter().map(|receipt| receipt.kind).collect();
    assert_eq!(kinds, [ReceiptKind::Recorded, ReceiptKind::NothingRecorded]);
}

#[tokio::test(start_paused = true)]
async fn each_event_carries_what_its_own_command_knew() {
    let place = Place::with(0).await;
    let tellers: Vec<_> = (0..3)
        .map(|number| place.app.with(Metadata::actor(format!("teller-{number}"))))
        .collect();
    let commands = tellers
        .iter()
        .map(|app| -> Command<'_> { Box::pin(app.update(place.id, |jar| jar.add(1))) });
    place.while_busy(commands).await;
    let history = place.app.history(place.id).await.unwrap();
    let actors: Vec<_> = history[3..]
        .iter()
        .map(|recorded| recorded.metadata.actor.as_deref().unwrap())
        .collect();
    assert_eq!(actors, ["teller-0", "teller-1", "teller-2"]);
    assert_ne!(
        history[3].metadata.correlation_id,
        history[4].metadata.correlation_id
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_of_them_does_wrong_harms_no_other() {
    let place = Place::with(0).await;
    let large = Metadata::actor("x".repeat(PAYLOAD_BYTES_MAX));
    let large = place.app.with(large);
    let wrong: Command<'_> = Box::pin(large.update(place.id, |jar| jar.add(100)));
    let mut answers = place.while_busy([place.add(1), wrong, place.add(2)]).await;
    let error = answers.remove(1).unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::Application(ApplicationError::Store(StoreError::Invalid { .. }))
        ),
        "{error}"
    );
    all_carried_out(answers);
    assert_eq!(place.jar().await.beans, 3);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_lets_all_decide_again() {
    let place = Place::with(1).await;
    let others = Application::new("jars", place.store.clone());
    let busy = place.while_busy([place.add(1), place.take(12), place.add(2)]);
    let meanwhile = async {
        place.until_the_next_append_is_under_way().await;
        others.update(place.id, |jar| jar.add(10)).await.unwrap();
    };
    let (answers, ()) = join(busy, meanwhile).await;
    all_carried_out(answers);
    assert_eq!(
        place.jar().await.beans,
        2,
        "12 were taken, which were there only when it decided again"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_batch_are_bounded() {
    let rates = FaultRates {
        conflict: 1.0,
        ..FaultRates::default()
    };
    let store = FaultyStore::new(MemoryStore::new()).with_rates(Seed::new(1), rates);
    let place = Place::on(store, 0).await;
    place.store.switch_on();
    let answers = join_all((0..5).map(|_| place.add(1))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, CommandError::Application(error) if error.is_conflict()),
            "{error}"
        );
    }
    place.store.switch_off();
    assert_eq!(place.jar().await.beans, 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_everybodys_answer_and_nothing_is_tried_twice() {
    for (fault, beans) in [(Fault::Unavailable, 0), (Fault::LostReply, 6)] {
        let place = Place::with(0).await;
        let before = place.appends();
        let meanwhile = async {
            sleep(A_WHILE / 2).await;
            place.store.fail_next(Operation::Append, fault);
        };
        let (answers, ()) = join(
            place.while_busy([place.add(1), place.add(2), place.add(3)]),
            meanwhile,
        )
        .await;
        for answer in answers {
            let error = answer.unwrap_err();
            let CommandError::Application(error) = error else {
                panic!("{error}")
            };
            assert!(error.is_unavailable(), "{error}");
            assert_eq!(
                error.proves_nothing_written(),
                fault == Fault::Unavailable,
                "{error}"
            );
        }
        assert_eq!(
            (place.appends(), place.jar().await.beans),
            (before + 2, beans)
        );
        place.add(1).await.unwrap();
        assert_eq!(
            place.jar().await.beans,
            beans + 1,
            "what is kept is what is stored"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_command_does_not_cancel_the_others() {
    for (gone, is_being_written, beans) in [
        (0, false, 3),
        (1, false, 3),
        (2, false, 3),
        (3, false, 3),
        (1, true, 4),
        (2, true, 4),
        (3, true, 4),
    ] {
        let place = Place::with(0).await;
        place
            .store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
        let command = |_| {
            let app = place.app.clone();
            let id = place.id;
            tokio::spawn(async move { app.update(id, |jar| jar.add(1)).await })
        };
        let mut commands: Vec<_> = (0..4).map(command).collect();
        match is_being_written {
            true => place.until_the_next_append_is_under_way().await,
            false => sleep(A_WHILE / 2).await,
        }
        commands.remove(gone).abort();
        for command in commands {
            command.await.unwrap().unwrap();
        }
        assert_eq!(
            place.jar().await.beans,
            beans,
            "{gone} has gone, being written: {is_being_written}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_caller_is_gone_is_not_written_later() {
    let place = Place::with(0).await;
    let (gathered, slow) = place.gathered([place.add(10), place.add(20)]).await;
    drop(gathered);
    slow.abort();
    place.add(2).await.unwrap();
    assert_eq!(place.jar().await.beans, 2);
}

#[tokio::test(start_paused = true)]
async fn a_save_past_the_cache_lets_those_who_have_gathered_decide_again() {
    let place = Place::with(0).await;
    let (gathered, slow) = place.gathered([place.add(10), place.add(20)]).await;
    let mut by_hand = place.jar().await;
    by_hand.record(JarEvent::Added { beans: 100 });
    place.app.save(&mut by_hand).await.unwrap();
    slow.abort();
    all_carried_out(gathered.await);
    assert_eq!(place.jar().await.beans, 130);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_panics_harms_no_other() {
    let place = Place::with(0).await;
    let app = place.app.clone();
    let id = place.id;
    place
        .store
        .fail_next(Operation::Append, Fault::Delay(A_WHILE));
    let spawn = |beans: u32| {
        let app = app.clone();
        tokio::spawn(async move {
            let decide = move |jar: &Jar| match beans {
                100 => resume_unwind(Box::new("a decision that panics")),
                beans => jar.add(beans),
            };
            app.update(id, decide).await
        })
    };
    let commands = [spawn(1), spawn(2), spawn(100), spawn(3)].into_iter();
    let mut answers = join_all(commands).await;
    assert!(answers.remove(2).unwrap_err().is_panic());
    all_carried_out(answers.into_iter().map(Result::unwrap));
    assert_eq!(place.jar().await.beans, 6);
}

/// The event that a receipt stands for is the command's own.
async fn assert_own_receipt(place: &Place, id: CommandId, receipt: &Receipt, own: JarEvent) {
    assert_eq!(
        (receipt.kind, receipt.command_id),
        (ReceiptKind::Recorded, Some(id))
    );
    let stored = place.store.receipt(id).await.unwrap();
    assert_eq!(stored.as_ref(), Some(receipt));
    let history = place.app.history(place.id).await.unwrap();
    let event = history
        .iter()
        .find(|recorded| recorded.position == receipt.position);
    assert_eq!(event.unwrap().payload, own);
}

#[tokio::test(start_paused = true)]
async fn commands_with_ids_share_an_append_and_each_has_its_own_receipt() {
    let place = Place::with(0).await;
    let ids: [CommandId; 3] = std::array::from_fn(|_| CommandId::new());
    let named = ids.map(|id| place.app.command(id));
    let command = |number: usize, beans| -> Command<'_> {
        Box::pin(named[number].update(place.id, move |jar| jar.add(beans)))
    };
    let before = place.appends();
    let answers = place
        .while_busy([
            command(0, 10),
            place.add(1),
            command(1, 20),
            place.add(2),
            command(2, 30),
        ])
        .await;
    assert_eq!(
        place.appends(),
        before + 2,
        "one is under way, and one is for all who waited"
    );
    let receipts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    for (number, beans) in [(0, 10), (1, 20), (2, 30)] {
        let receipt = &receipts[number * 2];
        assert_own_receipt(&place, ids[number], receipt, JarEvent::Added { beans }).await;
        let again = command(number, beans).await.unwrap();
        assert_eq!(again, *receipt, "repeated");
    }
    let head = place.store.head().await.unwrap();
    for receipt in [receipts[1], receipts[3]] {
        assert_eq!((receipt.command_id, receipt.position), (None, head));
    }
    assert_eq!(place.jar().await.beans, 63);
}

#[tokio::test(start_paused = true)]
async fn command_with_an_id_that_has_nothing_to_record_is_remembered_in_its_batch() {
    let place = Place::with(0).await;
    let id = CommandId::new();
    let named = place.app.command(id);
    let nothing = || -> Command<'_> {
        Box::pin(named.update(place.id, |jar| {
            Ok((jar.beans > 1).then_some(JarEvent::Added { beans: 50 }))
        }))
    };
    let answers = place
        .while_busy([place.add(1), nothing(), place.add(3)])
        .await;
    let receipt = *answers[1].as_ref().unwrap();
    assert_eq!(
        (receipt.kind, receipt.command_id),
        (ReceiptKind::NothingRecorded, Some(id))
    );
    assert_eq!(
        nothing().await.unwrap(),
        receipt,
        "by now there would be something to record"
    );
    assert_eq!(place.jar().await.beans, 4);
}

#[tokio::test(start_paused = true)]
async fn repeated_id_in_a_batch_gets_its_old_receipt_and_the_others_are_carried_out() {
    let place = Place::with(0).await;
    let other_process = Application::new("jars", place.store.clone());
    let ids: [CommandId; 4] = std::array::from_fn(|_| CommandId::new());
    let first = other_process
        .command(ids[1])
        .update(place.id, |jar| jar.add(100))
        .await
        .unwrap();
    place.add(0).await.unwrap();
    let named = ids.map(|id| place.app.command(id));
    let command = |number: usize| -> Command<'_> {
        Box::pin(named[number].update(place.id, |jar| jar.add(1)))
    };
    let before = place.appends();
    let commands = [command(0), command(1), place.add(1), command(2), command(3)];
    let meanwhile = async {
        place.until_the_next_append_is_under_way().await;
        place
            .store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
    };
    let (answers, ()) = join(place.while_busy(commands), meanwhile).await;
    let receipts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts[1], first);
    for (answer, number) in [(0, 0), (3, 2), (4, 3)] {
        let own = JarEvent::Added { beans: 1 };
        assert_own_receipt(&place, ids[number], &receipts[answer], own).await;
    }
    assert_eq!(place.jar().await.beans, 104);
    assert_eq!(
        place.appends(),
        before + 4,
        "one is under way, one is refused, one is for the first, and one for those who wait for it"
    );
}

#[tokio::test(start_paused = true)]
async fn one_new_id_given_twice_at_once_is_carried_out_once() {
    let place = Place::with(0).await;
    let named = place.app.command(CommandId::new());
    let command = || -> Command<'_> { Box::pin(named.update(place.id, |jar| jar.add(5))) };
    let answers = place
        .while_busy([
            place.add(1),
            command(),
            place.add(1),
            command(),
            place.add(1),
        ])
        .await;
    let receipts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts[1], receipts[3]);
    assert_eq!(place.jar().await.beans, 8);
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_command_in_a_batch_is_kept() {
    let place = Place::with(3).await;
    let id = CommandId::new();
    let named = place.app.command(id);
    let take =
        || -> Command<'_> { Box::pin(named.once(named.update(place.id, |jar| jar.take(5)))) };
    let answers = place
        .while_busy([place.add(1), take(), place.add(10), place.take(14)])
        .await;
    let is_rejected =
        |answer: &Answer| matches!(answer, Err(CommandError::Rejected(NotEnough { left: 4 })));
    assert!(is_rejected(&answers[1]), "{answers:?}");
    assert!(
        answers[3].is_ok(),
        "it was decided on what the others have added"
    );
    place.add(100).await.unwrap();
    let again = take().await;
    assert!(is_rejected(&again), "{again:?}");
    let kept = place.store.receipt(id).await.unwrap().unwrap();
    assert_eq!(kept.kind, ReceiptKind::Rejected);
    assert_eq!(place.jar().await.beans, 100);
}

#[tokio::test(start_paused = true)]
async fn batch_whose_reply_is_lost_is_written_once_and_each_has_its_receipt() {
    let place = Place::with(0).await;
    let ids: [CommandId; 2] = std::array::from_fn(|_| CommandId::new());
    let named = ids.map(|id| place.app.command(id));
    let command = |number: usize| -> Command<'_> {
        Box::pin(named[number].update(place.id, |jar| jar.add(10)))
    };
    let other = place.app.command(CommandId::new());
    let third = || -> Command<'_> { Box::pin(other.update(place.id, |jar| jar.add(3))) };
    for with_unnamed in [false, true] {
        let place_before = place.jar().await.beans;
        let meanwhile = async {
            sleep(A_WHILE / 2).await;
            place.store.fail_next(Operation::Append, Fault::LostReply);
        };
        let mut commands = vec![command(0), command(1)];
        if with_unnamed {
            commands = vec![place.add(1), third()];
        }
        let (answers, ()) = join(place.while_busy(commands), meanwhile).await;
        match with_unnamed {
            false => {
                for (number, answer) in answers.into_iter().enumerate() {
                    let own = JarEvent::Added { beans: 10 };
                    assert_own_receipt(&place, ids[number], &answer.unwrap(), own).await;
                }
                assert_eq!(place.jar().await.beans, place_before + 20);
            }
            true => {
                let Err(CommandError::Application(error)) = &answers[0] else {
                    panic!("it cannot know that it was written: {answers:?}")
                };
                assert!(error.is_unavailable() && !error.proves_nothing_written());
                assert!(answers[1].is_ok(), "{answers:?}");
                assert_eq!(place.jar().await.beans, place_before + 4);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_256_commands() {
    let place = Place::with(0).await;
    let before = place.appends();
    let answers = place.while_busy((0..600).map(|_| place.add(1))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(
        (place.appends(), place.jar().await.beans),
        (before + 1 + 3, 600)
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_becomes_due_in_a_batch_is_kept() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone()).with_snapshots::<Jar>(every(5));
    let id = app
        .create(|| JarEvent::Filled { beans: 0 })
        .await
        .unwrap()
        .id;
    let place = Place { store, app, id };
    place.while_busy((0..7).map(|_| place.add(1))).await;
    let load = Load::new(id.stream()).with_snapshot(<Jar as Aggregate>::FINGERPRINT);
    let snapshot = place.store.load(load).await.unwrap().snapshot.unwrap();
    assert_eq!(
        (snapshot.version, place.jar().await.version()),
        (Version::new(9), Version::new(9))
    );
    assert_eq!(snapshot.payload, br#"{"beans":7}"#);
}

#[tokio::test(start_paused = true)]
async fn a_handle_with_other_settings_writes_by_its_own() {
    let place = Place::with(0).await;
    let clock = ManualClock::new();
    let other = place.app.clone().with_clock(clock.clone());
    let theirs: Command<'_> = Box::pin(other.update(place.id, |jar| jar.add(5)));
    all_carried_out(place.while_busy([place.add(1), theirs, place.add(2)]).await);
    let history = place.app.history(place.id).await.unwrap();
    let at_its_time = history
        .iter()
        .filter(|recorded| recorded.recorded_at == clock.now());
    let payloads: Vec<_> = at_its_time.map(|recorded| &recorded.payload).collect();
    assert_eq!(
        (payloads, place.jar().await.beans),
        (vec![&JarEvent::Added { beans: 5 }], 8)
    );
}

/// A snapshot policy that panics once there are more events than this.
struct Panics(u64);

impl SnapshotPolicy for Panics {
    fn is_due(&self, progress: &Progress) -> bool {
        if progress.after.as_u64() > self.0 {
            resume_unwind(Box::new("a policy that panics"));
        }
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_policy_that_panics_costs_no_command_its_append() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone()).with_snapshots::<Jar>(Panics(3));
    let id = app
        .create(|| JarEvent::Filled { beans: 0 })
        .await
        .unwrap()
        .id;
    let place = Place { store, app, id };
    let before = place.appends();
    all_carried_out(place.while_busy([place.add(1), place.add(2)]).await);
    assert_eq!(place.appends(), before + 2, "the two have shared one");
    place.add(3).await.unwrap();
    assert_eq!(place.jar().await.beans, 6);
}

/// A clock that panics at its fourth call.
struct Stops(AtomicU32);

impl Clock for Stops {
    fn now(&self) -> Timestamp {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            3 => resume_unwind(Box::new("a clock that panics")),
            _ => Timestamp::UNIX_EPOCH,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_while_a_batch_is_written_harms_none_of_them() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone()).with_clock(Stops(AtomicU32::default()));
    let id = app
        .create(|| JarEvent::Filled { beans: 0 })
        .await
        .unwrap()
        .id;
    app.update(id, |jar| jar.add(0)).await.unwrap();
    let place = Place { store, app, id };
    all_carried_out(place.while_busy([place.add(1), place.add(2)]).await);
    assert_eq!(place.jar().await.beans, 3);
}

/// Commands from two processes, a store that fails in all ways, callers that go away and decisions that panic.
#[test]
fn an_acknowledged_command_is_written_once_and_a_refused_one_never() {
    for number in 0..60 {
        let seed = Seed::new(number);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(storm(seed));
    }
}

#[test]
fn it_holds_on_several_threads_as_well() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(storm(Seed::from_env()));
}

/// The outcome of a command, as far as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Written,
    NotWritten,
    Nothing,
}

async fn storm(seed: Seed) {
    let rates = FaultRates {
        unavailable: 0.02,
        lost_reply: 0.02,
        conflict: 0.05,
        delay: 0.5,
        delay_max: Duration::from_millis(3),
        ..FaultRates::default()
    };
    let place = Place::on(
        FaultyStore::new(MemoryStore::new()).with_rates(seed, rates),
        5,
    )
    .await;
    place.store.switch_on();
    let processes = [
        place.app.clone(),
        Application::new("jars", place.store.clone()),
    ];
    let callers = (0..40).map(|caller| {
        let app = processes[caller % 2].clone();
        let rng = seed.rng(caller as u64);
        tokio::spawn(calls(app, place.id, caller, rng))
    });
    let mut known = HashMap::new();
    for calls in callers.collect::<Vec<_>>() {
        known.extend(calls.await.unwrap());
    }
    place.store.switch_off();
    let mut written: HashMap<String, u32> = HashMap::new();
    for recorded in place.app.history(place.id).await.unwrap() {
        if let Some(command) = recorded.metadata.extra.get("command") {
            *written.entry(command.to_string()).or_default() += 1;
        }
    }
    for (command, known) in &known {
        let times = written.get(command).copied().unwrap_or_default();
        let is_right = match known {
            Known::Written => times == 1,
            Known::NotWritten => times == 0,
            Known::Nothing => times <= 1,
        };
        assert!(
            is_right,
            "{command} is {known:?}, and written {times} times; {seed}"
        );
    }
    let count = |wanted| known.values().filter(|known| **known == wanted).count();
    assert!(
        count(Known::Written) > 100 && count(Known::NotWritten) > 0 && count(Known::Nothing) > 0,
        "{seed}"
    );
}

/// The commands of one caller, in order.
async fn calls(
    app: Application,
    id: Id<Jar>,
    caller: usize,
    mut rng: fastrand::Rng,
) -> Vec<(String, Known)> {
    let mut known = Vec::new();
    for number in 0..10 {
        let command = format!("{caller}.{number}");
        let app = app.with(Metadata::default().with("command", &command));
        let beans = rng.u32(0..4);
        let kind = rng.u32(0..20);
        let call = tokio::spawn(async move {
            let decide = move |jar: &Jar| match kind {
                0 => resume_unwind(Box::new("a decision that panics")),
                1..10 => jar.take(beans),
                _ => jar.add(beans),
            };
            app.update(id, decide).await
        });
        let abort = call.abort_handle();
        let patience = if rng.u32(0..10) == 0 {
            rng.u64(0..4)
        } else {
            60_000
        };
        let answer = match timeout(Duration::from_millis(patience), call).await {
            Err(_) => {
                abort.abort();
                Known::Nothing
            }
            Ok(Err(_)) | Ok(Ok(Err(CommandError::Rejected(_)))) => Known::NotWritten,
            Ok(Ok(Ok(_))) => Known::Written,
            Ok(Ok(Err(CommandError::Application(error)))) if error.is_unavailable() => {
                Known::Nothing
            }
            Ok(Ok(Err(CommandError::Application(error)))) if error.is_conflict() => {
                Known::NotWritten
            }
            Ok(Ok(Err(error))) => panic!("{error}"),
        };
        known.push((command, answer));
    }
    known
}

fn pour(app: &Application, from: Id<Jar>, to: Id<Jar>) -> tokio::task::JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move {
        app.update_all((from, to), |(from, to)| {
            from.execute(|jar| jar.take(1))?;
            to.execute(|jar| jar.add(1))
        })
        .await
    })
}

/// Creates a jar for each number of beans.
async fn jars<const N: usize>(app: &Application, beans: [u32; N]) -> [Id<Jar>; N] {
    let mut ids = [Id::new(); N];
    for (id, beans) in ids.iter_mut().zip(beans) {
        *id = app.create(|| JarEvent::Filled { beans }).await.unwrap().id;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_of_several_aggregates_take_turns_in_whichever_order_they_name_them() {
    const EACH: u32 = 100;
    for with_ids in [false, true] {
        // There is no second attempt: a command that conflicts with another one fails.
        let app = Application::new("jars", MemoryStore::new()).with_retry(RetryPolicy::once());
        let [hot, one, other] = jars(&app, [1_000; 3]).await;
        let handle = || {
            if with_ids {
                app.command(CommandId::new())
            } else {
                app.clone()
            }
        };
        let mut commands = Vec::new();
        for _ in 0..EACH {
            for (from, to) in [(hot, one), (one, hot), (other, hot), (hot, other)] {
                commands.push(pour(&handle(), from, to));
            }
            let alone = handle();
            commands.push(tokio::spawn(async move {
                alone.update(hot, |jar| jar.add(1)).await
            }));
        }
        let answers = timeout(Duration::from_secs(60), join_all(commands))
            .await
            .expect("no two wait for each other");
        all_carried_out(answers.into_iter().map(Result::unwrap));
        let beans = join_all([hot, one, other].map(|id| app.load(id))).await;
        assert_eq!(
            beans.into_iter().map(|jar| jar.unwrap().beans).sum::<u32>(),
            3_000 + EACH
        );
    }
}

#[tokio::test]
async fn updates_of_several_aggregates_find_them_in_the_cache() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    store.switch_off();
    let app = Application::new("jars", store.clone());
    let [from, to] = jars(&app, [10, 0]).await;
    pour(&app, from, to).await.unwrap().unwrap();
    let loads = store.calls(Operation::Load);
    let appends = store.calls(Operation::Append);
    for _ in 0..3 {
        pour(&app, from, to).await.unwrap().unwrap();
    }
    app.update(to, |jar| jar.add(1)).await.unwrap();
    pour(&app, to, from).await.unwrap().unwrap();
    assert_eq!(
        (store.calls(Operation::Load), store.calls(Operation::Append)),
        (loads, appends + 5),
        "one append each"
    );
    assert_eq!(app.load(from).await.unwrap().beans, 7);
}

#[tokio::test]
async fn aggregate_that_is_only_looked_at_is_never_taken_from_the_cache() {
    let store = MemoryStore::new();
    let app = Application::new("jars", store.clone());
    let other = Application::new("jars", store);
    let [from, measure] = jars(&app, [10, 3]).await;
    pour(&app, from, measure).await.unwrap().unwrap();
    other.update(measure, |jar| jar.add(5)).await.unwrap();
    let as_much = |(from, measure): &mut (Root<Jar>, Root<Jar>)| {
        let beans = measure.beans;
        from.execute(|jar| jar.take(beans))
    };
    app.update_all((from, measure), as_much).await.unwrap();
    assert_eq!(
        app.load(from).await.unwrap().beans,
        0,
        "the measure has nine beans, whatever was cached"
    );
}

#[tokio::test]
async fn refused_decisions_of_several_aggregates_are_not_kept() {
    let app = Application::new("jars", MemoryStore::new());
    let [from, to] = jars(&app, [10, 0]).await;
    pour(&app, from, to).await.unwrap().unwrap();
    let refused = app
        .update_all((from, to), |(from, to)| {
            from.execute(|jar| jar.take(1))?;
            to.execute(|jar| jar.take(100))
        })
        .await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(NotEnough { left: 1 }))),
        "{refused:?}"
    );
    app.update(from, |jar| jar.take(1)).await.unwrap();
    assert_eq!(
        (
            app.load(from).await.unwrap().beans,
            app.load(to).await.unwrap().beans
        ),
        (8, 1)
    );
}

/// Pours a bean into the hot jar for each of `handles`, from one of `others` in turn.
fn pours<'a>(
    place: &'a Place,
    handles: &'a [Application],
    others: &'a [Id<Jar>],
) -> impl Iterator<Item = Command<'a>> {
    handles
        .iter()
        .enumerate()
        .map(|(number, app)| -> Command<'a> {
            let other = others[number % others.len()];
            Box::pin(app.update_all((other, place.id), |(other, hot)| {
                other.execute(|jar| jar.take(1))?;
                hot.execute(|jar| jar.add(1))
            }))
        })
}

#[tokio::test(start_paused = true)]
async fn updates_of_several_aggregates_that_have_one_in_common_share_an_append() {
    for (others, appends_max) in [(100, 2), (7, 3), (1, 2)] {
        for with_ids in [false, true] {
            let place = Place::with(0).await;
            let mut jars_of = Vec::new();
            for _ in 0..others {
                // Half of them come before the hot one in the order of the locks.
                let id: Id<Jar> = Id::named(&format!("{others} {}", jars_of.len()));
                let filled = JarEvent::Filled { beans: 1_000 };
                place
                    .app
                    .save(&mut Root::with_id(id, filled))
                    .await
                    .unwrap();
                place.app.update(id, |jar| jar.add(0)).await.unwrap();
                jars_of.push(id);
            }
            let ids: Vec<_> = (0..100).map(|_| CommandId::new()).collect();
            let handles: Vec<_> = ids
                .iter()
                .map(|id| match with_ids {
                    true => place.app.command(*id),
                    false => place.app.clone(),
                })
                .collect();
            let before = place.appends();
            let answers = place.while_busy(pours(&place, &handles, &jars_of)).await;
            let appends = place.appends() - before;
            assert!(
                appends <= appends_max,
                "{appends} appends, {others} others, with ids: {with_ids}"
            );
            let log = place.app.log(LogQuery::after(Position::ZERO).limit(9_999));
            let log = log.await.unwrap().events;
            for (answer, id) in answers.into_iter().zip(ids) {
                let receipt = answer.unwrap();
                let last = log.iter().find(|event| event.position == receipt.position);
                assert!(last.is_some());
                if with_ids {
                    assert_eq!(place.store.receipt(id).await.unwrap(), Some(receipt));
                }
            }
            assert_eq!(place.jar().await.beans, 100);
        }
    }
}

/// Of a command that is rejected, or panics, after it has recorded something nothing is left in the batch.
#[tokio::test(start_paused = true)]
async fn half_of_what_a_command_decides_is_not_left_to_the_others() {
    for panics in [false, true] {
        let place = Place::with(0).await;
        let [other] = jars(&place.app, [1]).await;
        place.app.update(other, |jar| jar.add(0)).await.unwrap();
        let spawn = |beans: u32| {
            let app = place.app.command(CommandId::new());
            let hot = place.id;
            tokio::spawn(async move {
                app.update_all((hot, other), move |(hot, other)| {
                    hot.execute(|jar| jar.add(beans))?;
                    if panics && beans == 100 {
                        resume_unwind(Box::new("a decision that panics"));
                    }
                    other.execute(|jar| jar.take(if beans == 100 { 2 } else { 0 }))
                })
                .await
            })
        };
        place
            .store
            .fail_next(Operation::Append, Fault::Delay(A_WHILE));
        let commands = [0, 1, 2, 100, 3, 4].map(spawn);
        let before = place.appends();
        let mut answers = join_all(commands).await;
        match answers.remove(3) {
            Err(error) => assert!(panics && error.is_panic()),
            Ok(answer) => assert!(
                !panics && matches!(answer, Err(CommandError::Rejected(NotEnough { left: 1 }))),
                "{answer:?}"
            ),
        }
        all_carried_out(answers.into_iter().map(Result::unwrap));
        assert_eq!(place.appends(), before + 2, "the others have shared one");
        assert_eq!(place.jar().await.beans, 10);
    }
}

/// What a command looks at, and does not change, is as it is stored, also in a batch.
#[tokio::test(start_paused = true)]
async fn aggregate_that_is_only_looked_at_is_loaded_in_a_batch_too() {
    let place = Place::with(0).await;
    let [measure] = jars(&place.app, [3]).await;
    place.app.update(measure, |jar| jar.add(0)).await.unwrap();
    let other_process = Application::new("jars", place.store.clone());
    other_process
        .update(measure, |jar| jar.add(5))
        .await
        .unwrap();
    let look: Command<'_> =
        Box::pin(place.app.update_all((place.id, measure), |(hot, measure)| {
            let beans = measure.beans;
            hot.execute(|jar| jar.add(beans))
        }));
    all_carried_out(place.while_busy([place.add(1), look, place.add(100)]).await);
    assert_eq!(place.jar().await.beans, 109, "the measure has eight beans");
}
