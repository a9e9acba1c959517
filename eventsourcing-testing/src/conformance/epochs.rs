//! P33 to P36: knowledge from one epoch of a log is not used in another. An epoch ends when a server forgets commits.

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{
    CommandId, EventRef, EventStore, Expected, FollowerStore, LogQuery, Position, StoreError,
    VisibleLog,
};

use super::assertions::{Picture, head_of, log_of, stream_of, text_of, texts_of};
use super::builders::{append, append_to, event, snapshot, step_from, stream};
use super::concurrency::within;
use super::{Fixture, FollowerFixture, RevertingFixture};

/// P33, P34, P36: A page, an append, a step and a wait that name another epoch are refused, and nothing is written.
pub async fn nothing_is_done_in_an_epoch_that_is_not_the_present_one<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();
    store
        .append(append_to(&stream, "first"))
        .await
        .expect("any version");
    let present = store.epoch();
    let other = store.epoch().next();
    let before = Picture::with_follower(&store, &[&stream]).await;

    let step = step_from(0, store.log_id()).to(1);
    for append in [
        append_to(&stream, "refused").in_epoch(other),
        append_to(&stream, "refused")
            .in_epoch(present)
            .with_tracking(step.clone().in_epoch(other)),
        append().with_tracking(step.clone().in_epoch(other)),
        append().with_snapshot(snapshot(&stream, 1)).in_epoch(other),
    ] {
        assert_outdated(store.append(append).await, "an append");
    }
    assert_outdated(
        store
            .read_log(LogQuery::after(Position::ZERO).in_epoch(other))
            .await,
        "a page",
    );
    assert_outdated(
        store.wait_beyond(Position::ZERO, Some(other)).await,
        "a wait",
    );
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await
    );

    let page = store
        .read_log(LogQuery::after(Position::ZERO).in_epoch(present))
        .await
        .expect("the present epoch");
    assert_eq!(
        (texts_of(&page.events), page.epoch),
        (vec!["first".to_owned()], present)
    );
    store
        .append(append_to(&stream, "second").in_epoch(present))
        .await
        .expect("the present epoch");
    store
        .append(append().with_tracking(step.in_epoch(present)))
        .await
        .expect("the present epoch");
    let wait = within::<F, _>(
        "a wait in the present epoch",
        store.wait_beyond(Position::ZERO, Some(present)),
    );
    assert_eq!(
        wait.await.expect("an event is there"),
        head_of(&store).await
    );
}

/// P34: A step in a transaction that was decided in another epoch is refused, and nothing is written.
pub async fn step_in_a_transaction_of_another_epoch_is_refused<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let database = store.database().expect("it has a database");
    let step = step_from(0, store.log_id()).to(1);
    let mut transaction = database.begin().await.expect("a transaction");
    assert_outdated(
        transaction
            .step(&step.clone().in_epoch(store.epoch().next()))
            .await,
        "a step",
    );
    drop(transaction);
    let mut transaction = database.begin().await.expect("a transaction");
    transaction
        .step(&step.in_epoch(store.epoch()))
        .await
        .expect("the present epoch");
    transaction.commit().await.expect("a commit");
}

/// P35: `visible` returns the end of the visible log, and the whole event at a position.
pub async fn visible_log_shows_its_end_and_the_event_at_a_position<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let nothing = VisibleLog {
        epoch: store.epoch(),
        end: Position::ZERO,
        event: None,
    };
    for position in [Position::ZERO, Position::new(1), Position::MAX] {
        assert_eq!(
            store.visible(position).await.expect("the log is visible"),
            nothing,
            "an empty log"
        );
    }
    for text in ["1", "2", "3"] {
        let position = store
            .append(append_to(&stream, text))
            .await
            .expect("any version")
            .receipt
            .position;
        let seen = fixture
            .open()
            .await
            .visible(position)
            .await
            .expect("the log is visible");
        assert_eq!(
            (seen.end, seen.event.as_ref().map(text_of)),
            (position, Some(text.to_owned()))
        );
    }
    for event in log_of(&store).await {
        let seen = store
            .visible(event.position)
            .await
            .expect("the log is visible");
        assert_eq!(
            (seen.end, seen.event),
            (head_of(&store).await, Some(event)),
            "the event is shown as it is"
        );
    }
    let end = head_of(&store).await;
    for position in [
        Position::ZERO,
        Position::new(end.as_u64() + 1),
        Position::MAX,
    ] {
        let seen = store.visible(position).await.expect("the log is visible");
        assert_eq!(
            (seen.end, seen.event),
            (end, None),
            "there is no event at {position}"
        );
    }
}

/// P33: A log that has lost its last commits begins another epoch, and every reader reads its present contents, even a reader of
/// the lost events: no event that is written afterwards is skipped.
pub async fn log_that_went_back_is_read_as_it_is_now<F: RevertingFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    store
        .append(append_to(&stream, "kept"))
        .await
        .expect("any version");
    let moment = fixture.keep().await;
    let kept = head_of(&store).await;
    let epoch = store.epoch();
    for text in ["lost 1", "lost 2", "lost 3"] {
        store
            .append(append_to(&stream, text))
            .await
            .expect("any version");
    }
    let lost = log_of(&store).await;
    assert_eq!(
        within::<F, _>("a wait", store.wait_beyond(kept, None))
            .await
            .expect("events"),
        lost[3].position
    );
    fixture.go_back(&moment).await;

    let other = fixture.open().await;
    let new = other
        .append(append_to(&stream, "new"))
        .await
        .expect("any version")
        .receipt
        .position;
    let seen = available(|| store.visible(lost[3].position)).await;
    assert!(
        seen.epoch > epoch && store.epoch() == seen.epoch,
        "another epoch has begun"
    );
    assert_eq!(seen.end, new, "the log ends where it ends now");
    assert_ne!(
        seen.event,
        Some(lost[3].clone()),
        "a lost event is not shown"
    );

    assert_eq!(
        available(|| store.head()).await,
        new,
        "the head is that of the log as it is"
    );
    let wait = within::<F, _>("a wait for a new event", store.wait_beyond(kept, None));
    assert_eq!(wait.await.expect("an event"), new);
    assert_eq!(texts_of(&log_of(&store).await), ["kept", "new"]);
    let page = available(|| store.read_log(LogQuery::after(kept))).await;
    assert_eq!(
        (texts_of(&page.events), page.ceiling, page.epoch),
        (vec!["new".to_owned()], new, store.epoch())
    );

    // An event at the position of a lost one is another event.
    let log = store.log_id();
    let again = available(|| store.visible(new))
        .await
        .event
        .map(|event| EventRef::of(&event, log));
    assert!(
        lost.iter()
            .all(|lost| Some(EventRef::of(lost, log)) != again),
        "identities tell them apart"
    );
}

/// P33: A page that begins at a position of an earlier epoch is refused.
pub async fn page_of_an_earlier_epoch_is_refused<F: RevertingFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let moment = fixture.keep().await;
    let mut lost = Position::ZERO;
    for text in ["lost 1", "lost 2"] {
        lost = store
            .append(append_to(&stream, text))
            .await
            .expect("any version")
            .receipt
            .position;
    }
    let page = store
        .read_log(LogQuery::after(Position::ZERO))
        .await
        .expect("the log can be read");
    assert_eq!(page.ceiling, lost);
    fixture.go_back(&moment).await;
    let other = fixture.open().await;
    for text in ["new 1", "new 2", "new 3"] {
        other
            .append(append_to(&stream, text))
            .await
            .expect("any version");
    }
    let refused =
        settled(|| store.read_log(LogQuery::after(page.ceiling).in_epoch(page.epoch))).await;
    assert_outdated(refused, "a page behind lost events");
    let again =
        available(|| store.read_log(LogQuery::after(Position::ZERO).in_epoch(store.epoch()))).await;
    assert_eq!(texts_of(&again.events), ["new 1", "new 2", "new 3"]);
}

/// P34: An append that was decided in an earlier epoch is refused and writes nothing, even if every expected version is right.
pub async fn append_of_an_earlier_epoch_is_refused_and_writes_nothing<F: RevertingFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();
    store
        .append(append_to(&stream, "kept"))
        .await
        .expect("any version");
    let moment = fixture.keep().await;
    store
        .append(append_to(&stream, "lost"))
        .await
        .expect("any version");
    let epoch = store.epoch();
    fixture.go_back(&moment).await;

    let other = fixture.open().await;
    other
        .append(append_to(&stream, "new"))
        .await
        .expect("any version");
    let version = stream_of(&other, &stream)
        .await
        .last()
        .expect("events")
        .version;
    let decided = || {
        append().with_events(
            stream.clone(),
            Expected::Exact(version),
            vec![event("refused")],
        )
    };
    assert_outdated(
        settled(|| store.append(decided().in_epoch(epoch))).await,
        "an append",
    );
    assert_eq!(
        texts_of(&stream_of(&other, &stream).await),
        ["kept", "new"],
        "nothing may be written"
    );
    available(|| store.append(decided().in_epoch(store.epoch()))).await;
    assert_eq!(
        texts_of(&stream_of(&other, &stream).await),
        ["kept", "new", "refused"]
    );
}

/// P34: A command whose append is not lost is recognised in the next epoch; one whose append is lost is not.
pub async fn repeated_command_is_recognised_in_the_next_epoch<F: RevertingFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let command = |text, id| append_to(&stream, text).with_command_id(id);
    let kept = CommandId::new();
    let lost = CommandId::new();
    let receipt = store
        .append(command("kept", kept))
        .await
        .expect("any version")
        .receipt;
    let moment = fixture.keep().await;
    store
        .append(command("lost", lost))
        .await
        .expect("any version");
    let epoch = store.epoch();
    fixture.go_back(&moment).await;

    let again = settled(|| store.append(command("kept", kept).in_epoch(epoch)))
        .await
        .expect("it was carried out");
    assert_eq!((again.receipt, again.repeated), (receipt, true));
    assert_outdated(
        settled(|| store.append(command("lost", lost).in_epoch(epoch))).await,
        "a lost command",
    );
    assert!(
        !available(|| store.append(command("lost", lost).in_epoch(store.epoch())))
            .await
            .repeated
    );
    assert_eq!(
        texts_of(&log_of(&fixture.open().await).await),
        ["kept", "lost"]
    );
}

/// P36: A wait ends when the epoch ends.
pub async fn waiting_ends_with_the_epoch<F: RevertingFixture>(fixture: &F) {
    let store = Arc::new(fixture.open().await);
    let stream = stream();
    let moment = fixture.keep().await;
    let lost = store
        .append(append_to(&stream, "lost"))
        .await
        .expect("any version")
        .receipt
        .position;
    let epoch = store.epoch();
    let waits = [Some(epoch), None].map(|epoch| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            settled(|| store.wait_beyond(lost, epoch.or(Some(store.epoch())))).await
        })
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.go_back(&moment).await;
    for wait in waits {
        let ended = tokio::time::timeout(F::WAKING_MAX, wait)
            .await
            .expect("a wait ends soon")
            .expect("no panic");
        assert_outdated(ended, "a wait");
    }
}

fn assert_outdated<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: &str) {
    assert!(
        matches!(answer, Err(StoreError::OutdatedEpoch { .. })),
        "{what} of another epoch, but {answer:?}"
    );
}

/// Returns the answer of a store as soon as it can be reached again.
async fn settled<T, A: Future<Output = Result<T, StoreError>>>(
    ask: impl Fn() -> A,
) -> Result<T, StoreError> {
    loop {
        match ask().await {
            Err(StoreError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}

async fn available<T, A: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> A) -> T {
    settled(ask).await.expect("the store answers")
}
