//! Servers that forget commits, and processes that live through it, with real servers. Promises P33 to P36.
//!
//! Stopping the WAL writer holds back the last commits of `Durability::Normal`. Then the server crashes and starts
//! again; or one of its processes is killed, so that it restarts with the same start time; or an older copy replaces
//! its data.

mod support;

use std::process::Command;
use std::time::Duration;

use eventsourcing_core::store::{
    EventRef, EventStore, Expected, LogQuery, Position, StoreError, StoredEvent, StreamId,
};
use eventsourcing_core::{Aggregate, Application, CommandError, Root, Subscription, event};
use eventsourcing_postgres::{Durability, PostgresStore};
use serde::{Deserialize, Serialize};
use support::server::DURABLE;
use support::{Place, Server, append_to, log_of, report, stream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[derive(Aggregate, Serialize, Deserialize)]
struct Jar {
    beans: u32,
}

#[event]
impl Jar {
    fn filled(beans: u32) -> Self {
        Self { beans }
    }

    fn added(&mut self, beans: u32) {
        self.beans += beans;
    }

    fn taken(&mut self, beans: u32) {
        self.beans -= beans;
    }
}

impl Jar {
    fn take(&self, beans: u32) -> Result<JarEvent, String> {
        match beans > self.beans {
            true => Err(format!("only {} beans are left", self.beans)),
            false => Ok(JarEvent::Taken { beans }),
        }
    }
}

/// The way in which a server forgets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forgetting {
    /// The server crashes and starts again.
    Crash,
    /// One of its processes is killed, and it restarts by itself: neither its start time nor its timeline changes.
    Reinitialization,
    /// An older copy replaces its data.
    Restore,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crash_that_forgets_commits_is_lived_through() {
    live_through(Forgetting::Crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reinitialization_that_forgets_commits_is_lived_through() {
    live_through(Forgetting::Reinitialization).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn restore_of_an_older_copy_is_lived_through() {
    live_through(Forgetting::Restore).await;
}

async fn live_through(forgetting: Forgetting) {
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let old = open(&place).await;
    let app = Application::new("jars", old.clone());
    let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
    app.save(&mut jar).await.expect("a jar");
    let untouched = stream();
    old.append(append_to(&untouched, Expected::NoStream))
        .await
        .expect("an event");
    flush(&place).await;
    if forgetting == Forgetting::Restore {
        server.keep();
    }
    let kept = head_of(&old).await;

    // The server will forget everything that this process learns now.
    let writer = match forgetting {
        Forgetting::Restore => None,
        Forgetting::Crash | Forgetting::Reinitialization => Some(stop_wal_writer(&place).await),
    };
    settled(|| app.update(jar.id(), |_: &Jar| JarEvent::Added { beans: 99 }))
        .await
        .expect("beans");
    for _ in 0..40 {
        old.append(append_to(&stream(), Expected::NoStream))
            .await
            .expect("an event");
    }
    let lost = log_of(&old).await;
    let mut watching = app.subscribe(LogQuery::after(Position::ZERO));
    for _ in &lost {
        next(&mut watching)
            .await
            .expect("an event")
            .expect("it is there");
    }
    let mut quiet = Subscription::new(
        old.clone(),
        LogQuery::after(Position::ZERO)
            .categories(["account"])
            .limit(1),
    );
    assert_eq!(
        next(&mut quiet)
            .await
            .expect("an event")
            .expect("it is there")
            .stream,
        untouched
    );
    let mut stale = app.load(jar.id()).await.expect("a jar");
    let last = lost.last().expect("events").clone();
    let waiting = {
        let store = old.clone();
        let epoch = old.epoch();
        tokio::spawn(async move { settled(|| store.wait_beyond(last.position, Some(epoch))).await })
    };

    forget(&server, writer, forgetting).await;
    let new = open(&place).await;
    let end = head_of(&new).await;
    report(&format!(
        "{forgetting:?}: the log ended at {}, and ends at {end}",
        last.position
    ));
    assert!(
        kept <= end && end < last.position,
        "nothing was forgotten: {kept} {end} {}",
        last.position
    );
    let other = Application::new("jars", new.clone());
    let beans = |_: &Jar| JarEvent::Added { beans: 1 };
    other
        .update(jar.id(), beans)
        .await
        .expect("another version 2, unless the first is there");

    // No command decides on forgotten state, although every version matches.
    let stored = other.load(jar.id()).await.expect("a jar").beans;
    let refused = settled(|| app.update(jar.id(), |jar| jar.take(stored + 50))).await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(_))),
        "{refused:?}"
    );
    stale.record(JarEvent::Taken { beans: 1 });
    let saved = app.save(&mut stale).await;
    assert!(
        saved
            .as_ref()
            .is_err_and(eventsourcing_core::ApplicationError::is_conflict),
        "{saved:?}"
    );
    assert_eq!(
        settled(|| app.load(jar.id())).await.expect("a jar").beans,
        stored
    );

    // The log is read as it is now, and waits and subscriptions report the change.
    assert_eq!(head_of(&old).await, head_of(&new).await);
    let ended = timeout(SOON, waiting)
        .await
        .expect("a wait ends")
        .expect("no panic");
    assert!(
        matches!(ended, Err(StoreError::OutdatedEpoch { .. })),
        "{ended:?}"
    );
    let ended = next(&mut watching).await.expect("an error");
    let Err(StoreError::LogWentBack {
        position,
        known,
        found,
        end,
        ..
    }) = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(
        (position, known),
        (
            last.position,
            Some(EventRef::of(&last, old.log_id()).identity)
        )
    );
    assert!(found.is_none() && end < position, "it names both ends");
    assert!(next(&mut watching).await.is_none(), "that was its end");
    follow_on(&old, &new, &mut quiet, end).await;
}

/// A subscription whose last event is still in the log continues after it, without a gap.
async fn follow_on(
    old: &PostgresStore,
    new: &PostgresStore,
    quiet: &mut Subscription,
    end: Position,
) {
    let streams: Vec<StreamId> = (0..60).map(|_| stream()).collect();
    for stream in &streams {
        new.append(append_to(stream, Expected::NoStream))
            .await
            .expect("an event");
    }
    let log = log_of(new).await;
    let wanted = log
        .iter()
        .filter(|event| event.stream.category == *"account")
        .skip(1);
    for event in wanted {
        assert_eq!(
            next(quiet).await.expect("an event").expect("it goes on"),
            *event
        );
    }
    assert!(
        log.len() > 60 && log_of(old).await == log,
        "the old process reads what the new one has written after {end}"
    );
}

/// `setval` sets the sequence back, as after a copy that leaves sequences alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sequence_behind_the_log_is_refused_and_named() {
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let store = place.store().await;
    for _ in 0..12 {
        append(&store).await.expect("an event");
    }
    let outsider = place.outsider().await;
    outsider
        .batch_execute("SELECT setval('events_position', 40)")
        .await
        .expect("the owner may");
    for _ in 0..2 {
        append(&store).await.expect("an event");
    }
    assert_eq!(head_of(&store).await, Position::new(42));
    outsider
        .batch_execute("SELECT setval('events_position', 1, false)")
        .await
        .expect("the owner may");

    // The first event is written before the fault can be known. It is the last one.
    let written = append(&store).await.expect("it is written");
    assert!(written < Position::new(42), "{written}");
    let refused = append(&store)
        .await
        .expect_err("positions are given out again");
    let remedy = format!(
        "SELECT setval('\"{0}\".events_position', (SELECT max(position) FROM \"{0}\".events))",
        place.schema()
    );
    assert!(
        matches!(&refused, StoreError::Corrupt { reason, .. } if reason.contains(&remedy)),
        "{refused}"
    );
    let refused = place
        .try_store()
        .await
        .expect_err("positions are given out again");
    assert!(
        matches!(&refused, StoreError::Corrupt { reason, .. } if reason.contains(&remedy)),
        "{refused}"
    );

    outsider
        .batch_execute(&remedy)
        .await
        .expect("the remedy works");
    for store in [store, place.store().await] {
        assert!(settled(|| append(&store)).await.expect("it is right again") > Position::new(42));
    }
}

/// A dump is restored into the running server: no connection ends, and the log is shorter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn log_that_is_cut_short_in_a_living_server_is_read_as_it_is() {
    let place = Place::with_database().await;
    let store = place.store().await;
    let mut subscription = Subscription::new(store.clone(), LogQuery::after(Position::ZERO));
    for _ in 0..12 {
        append(&store).await.expect("an event");
        next(&mut subscription)
            .await
            .expect("an event")
            .expect("it is there");
    }
    let lost = log_of(&store).await.pop().expect("events");
    let epoch = store.epoch();
    let app = Application::new("jars", store.clone());
    let cut = "DELETE FROM events WHERE position > 6; SELECT setval('events_position', 6)";
    place
        .outsider()
        .await
        .batch_execute(cut)
        .await
        .expect("the owner may");

    assert_eq!(
        timeout(SOON, head_of(&store))
            .await
            .expect("it is found out"),
        Position::new(6)
    );
    assert!(
        store.epoch() > epoch,
        "nothing that was known of the log holds any more"
    );
    let ended = next(&mut subscription).await.expect("an error");
    let Err(StoreError::LogWentBack { position, end, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!((position, end), (lost.position, Position::new(6)));
    app.save(&mut Root::<Jar>::create(JarEvent::Filled { beans: 1 }))
        .await
        .expect("a jar");
    let decided_before = append_to(&stream(), Expected::NoStream).in_epoch(epoch);
    let refused = store.append(decided_before).await;
    assert!(
        matches!(refused, Err(StoreError::OutdatedEpoch { .. })),
        "{refused:?}"
    );
    let positions: Vec<_> = log_of(&store)
        .await
        .iter()
        .map(|event| event.position.as_u64())
        .collect();
    assert_eq!(
        positions,
        [1, 2, 3, 4, 5, 6, 7],
        "what is written where the lost events stood is seen"
    );
}

/// One lost connection among many begins no new epoch. The loss of all connections begins one, which loses no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_connections_of_a_living_server_cost_nothing_but_a_look() {
    let place = Place::with_database().await;
    let store = place.store().await;
    let mut subscription = Subscription::new(store.clone(), LogQuery::after(Position::ZERO));
    let mut written = Vec::new();
    for round in 0..6 {
        written.push(settled(|| append(&store)).await.expect("an event"));
        let event = next(&mut subscription)
            .await
            .expect("an event")
            .expect("it goes on");
        assert_eq!(event.position, *written.last().expect("an event"));
        let before = store.epoch();
        if round % 2 == 0 {
            let one = "SELECT pg_terminate_backend(min(pid), 10000) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            place
                .outsider()
                .await
                .execute(one, &[])
                .await
                .expect("a connection ends");
            settled(|| append(&store)).await.expect("an event");
            next(&mut subscription)
                .await
                .expect("an event")
                .expect("it goes on");
            assert_eq!(store.epoch(), before, "the others are witnesses");
        } else {
            place.end_all_connections_before_a_new_one().await;
            settled(|| store.visible(Position::ZERO))
                .await
                .expect("the store is back");
            assert!(
                store.epoch() > before,
                "it is unknown what has happened meanwhile"
            );
        }
    }
}

async fn append(store: &PostgresStore) -> Result<Position, StoreError> {
    let append = append_to(&stream(), Expected::NoStream);
    store
        .append(append)
        .await
        .map(|appended| appended.receipt.position)
}

async fn open(place: &Place) -> PostgresStore {
    let options = place
        .options()
        .with_durability(Durability::Normal)
        .with_poll_interval(Duration::from_millis(50));
    settled(|| options.clone().connect(place.url()))
        .await
        .expect("a store")
}

/// Flushes everything that has been committed.
async fn flush(place: &Place) {
    place
        .outsider()
        .await
        .batch_execute("CREATE TABLE flushed (); DROP TABLE flushed")
        .await
        .expect("a flush");
}

/// Stops the WAL writer, so that only commits that wait for a flush are flushed. Returns its process.
async fn stop_wal_writer(place: &Place) -> String {
    let of_writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let process: i32 = place
        .outsider()
        .await
        .query_one(of_writer, &[])
        .await
        .expect("a WAL writer")
        .get(0);
    signal("-STOP", &process.to_string());
    process.to_string()
}

async fn forget(server: &Server, writer: Option<String>, forgetting: Forgetting) {
    match (forgetting, writer) {
        (Forgetting::Crash, _) => {
            server.crash();
            server.start_again();
        }
        (Forgetting::Reinitialization, Some(writer)) => signal("-KILL", &writer),
        (Forgetting::Restore, _) => server.put_back(),
        (Forgetting::Reinitialization, None) => unreachable!("it has a WAL writer"),
    }
}

fn signal(signal: &str, process: &str) {
    assert!(
        Command::new("kill")
            .args([signal, process])
            .status()
            .expect("kill")
            .success(),
        "kill {signal} {process}"
    );
}

async fn head_of(store: &PostgresStore) -> Position {
    settled(|| store.head()).await.expect("a head")
}

async fn next(subscription: &mut Subscription) -> Option<Result<StoredEvent, StoreError>> {
    timeout(SOON, subscription.next()).await.expect("an answer")
}

/// Returns the answer of a call as soon as the store can be reached.
async fn settled<T, E: std::fmt::Debug, A: Future<Output = Result<T, E>>>(
    ask: impl Fn() -> A,
) -> Result<T, E> {
    let answer = async {
        loop {
            match ask().await {
                Err(error) if format!("{error:?}").contains("Unavailable {") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    };
    timeout(SOON * 2, answer)
        .await
        .expect("the server comes back")
}
