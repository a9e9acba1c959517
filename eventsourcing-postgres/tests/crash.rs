//! Acknowledged appends survive `kill -9` of a writer and of the server. Promises P2, P6, P16, P20 and P27.
//!
//! A child process writes from several tasks and reports acknowledgements on its standard output; it is killed at
//! random moments. A server with durable settings is stopped under load as by a crash. A reader lives through all of it
//! and must have seen every event once, in order. To repeat a run, set `EVENTSOURCING_TEST_SEED` to the seed that a
//! failure prints.

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, LogId, LogQuery, Name, Position, Receipt, StoreError,
    StoredEvent, StreamId, Tracking, Version,
};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_testing::Seed;
use jiff::Timestamp;
use support::follower::Follower;
use support::server::DURABLE;
use support::{Place, Server, event, log_of, report};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use uuid::Uuid;

const KILLS: usize = 20;
const CRASHES: usize = 10;
/// The longest time for which a child writes before it is killed, and a server runs before it crashes.
const LIFE_MILLISECONDS_MAX: u64 = 150;
/// The fewest commands written between two crashes of a server.
const COMMANDS_MIN: u64 = 50;
const TASKS: u64 = 6;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Set for a child process: the server and the schema that it writes to.
const CHILD_URL: &str = "EVENTSOURCING_TEST_CHILD_URL";
const CHILD_SCHEMA: &str = "EVENTSOURCING_TEST_CHILD_SCHEMA";
/// The user name of the child, which identifies its connections.
const CHILD_USER: &str = "child";
/// The first word of the child's lines; the test harness prints lines of its own.
const ACKNOWLEDGED: &str = "acknowledged";

/// Commands, and the positions of their last events.
type Acknowledged = HashMap<CommandId, (u64, Position)>;

/// Returns the append of a task: its first event goes to the task's own stream, its second to a stream that all tasks
/// share. The payload of each event is the command and the number of events in the append.
fn append(task: u64, command: CommandId, tracked: Option<Position>) -> Append {
    let events = if task.is_multiple_of(2) { 1 } else { 2 };
    let payload = format!("{} {events}", command.as_uuid());
    let mut append = Append::new(Timestamp::UNIX_EPOCH).with_command_id(command);
    append = append.with_events(
        own_stream(task),
        Expected::Any,
        vec![event(payload.clone())],
    );
    if events == 2 {
        append = append.with_events(shared_stream(), Expected::Any, vec![event(payload)]);
    }
    match tracked {
        Some(from) => append.with_tracking(step(task, from)),
        None => append,
    }
}

fn own_stream(task: u64) -> StreamId {
    StreamId::new("own", Uuid::from_u64_pair(0, task))
}

fn shared_stream() -> StreamId {
    StreamId::new("shared", Uuid::nil())
}

/// A task's follower counts the task's appends.
fn step(task: u64, from: Position) -> Tracking {
    let to = Position::new(from.as_u64() + 1);
    Tracking::new(follower(task), upstream(), from, to)
}

fn follower(task: u64) -> Name {
    format!("follower-{task}").into()
}

fn upstream() -> LogId {
    LogId::from_uuid(Uuid::nil())
}

/// Every third task moves its follower.
fn is_follower(task: u64) -> bool {
    task.is_multiple_of(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_writes_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return;
    };
    let schema = std::env::var(CHILD_SCHEMA).expect("the parent sets it with the URL");
    let store = PostgresOptions::new()
        .with_schema(&schema)
        .connect(&url)
        .await
        .expect("a store");
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(write_without_end(store.clone(), task)))
        .collect();
    for task in tasks {
        task.await.expect("a task that never ends");
    }
}

async fn write_without_end(store: PostgresStore, task: u64) {
    loop {
        let (command, position) = write(&store, task).await;
        let line = format!("{ACKNOWLEDGED} {task} {command} {position}\n");
        stdout()
            .write_all(line.as_bytes())
            .expect("the parent listens");
    }
}

/// Carries out one new command, and retries while the server is away.
async fn write(store: &PostgresStore, task: u64) -> (CommandId, Position) {
    let command = CommandId::new();
    let follower = follower(task);

    let tracked = match is_follower(task) {
        true => Some(available("tracking", || store.tracking(&follower, upstream())).await),
        false => None,
    };
    let append = append(task, command, tracked);
    (
        command,
        available("append", || store.append(append.clone()))
            .await
            .receipt
            .position,
    )
}

/// Returns the answer of `call` as soon as the server is available.
async fn available<T, C>(what: &str, mut call: impl FnMut() -> C) -> T
where
    C: Future<Output = Result<T, StoreError>>,
{
    let asking = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(StoreError::Unavailable { .. }) => sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{what}: {error:?}"),
            }
        }
    };
    timeout(TIMEOUT, asking)
        .await
        .unwrap_or_else(|_| panic!("{what} was not answered for {TIMEOUT:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_kill_9_of_the_writer() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let outsider = place.outsider().await;
    outsider
        .batch_execute(&format!("CREATE ROLE {CHILD_USER} SUPERUSER LOGIN"))
        .await
        .expect("a role");
    let child_url = server.url_of(CHILD_USER, "postgres");
    let store = place.store().await;
    let reader = Follower::start(store.clone(), LogQuery::after(Position::ZERO));
    let mut acknowledged = Acknowledged::new();
    for round in 0..KILLS {
        let life = Duration::from_millis(random.u64(0..LIFE_MILLISECONDS_MAX));
        let wait_for_life = random.u8(..) > 32;
        acknowledged.extend(block_in_place(|| {
            run_and_kill(&child_url, place.schema(), life, wait_for_life)
        }));
        wait_for_the_end_of_the_child(&outsider).await;
        check(
            &place.store().await,
            &acknowledged,
            &format!("round {round}, {seed}"),
        )
        .await;
    }
    assert!(
        acknowledged.len() > KILLS,
        "hardly anything was written; {seed}"
    );
    let seen = check_seen(&store, reader).await;
    report(&format!(
        "{KILLS} kills: {} commands acknowledged, {seen} events seen",
        acknowledged.len()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_crashes_of_the_server() {
    let seed = Seed::from_env();
    let mut random = seed.rng(1);
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let writer = place.store().await;
    let bystander = place.store().await;

    let readers = [&writer, &bystander]
        .map(|store| Follower::start(store.clone(), LogQuery::after(Position::ZERO)));
    let stop = watch::Sender::new(false);
    let written = Arc::new(AtomicU64::new(0));

    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            tokio::spawn(write_until(
                writer.clone(),
                task,
                stop.subscribe(),
                written.clone(),
            ))
        })
        .collect();
    for _ in 0..CRASHES {
        wait_for_more(&written, COMMANDS_MIN).await;
        sleep(Duration::from_millis(random.u64(0..LIFE_MILLISECONDS_MAX))).await;
        block_in_place(|| {
            server.crash();
            server.start_again();
        });
    }
    wait_for_more(&written, COMMANDS_MIN).await;
    stop.send_replace(true);
    let mut acknowledged = Acknowledged::new();
    for task in tasks {
        acknowledged.extend(
            timeout(TIMEOUT, task)
                .await
                .expect("a writer ends")
                .expect("a writer"),
        );
    }
    assert!(
        acknowledged.len() > CRASHES,
        "hardly anything was written; {seed}"
    );
    check(&writer, &acknowledged, &seed.to_string()).await;
    for reader in readers {
        let seen = check_seen(&bystander, reader).await;
        report(&format!(
            "{CRASHES} crashes: {} commands acknowledged, {seen} events seen",
            acknowledged.len()
        ));
    }
}

async fn write_until(
    store: PostgresStore,
    task: u64,
    stop: watch::Receiver<bool>,
    written: Arc<AtomicU64>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    while !*stop.borrow() {
        let (command, position) = write(&store, task).await;
        acknowledged.insert(command, (task, position));
        written.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

/// Waits until the writers have written more commands.
async fn wait_for_more(written: &AtomicU64, commands: u64) {
    let before = written.load(Ordering::SeqCst);
    let waiting = async {
        while written.load(Ordering::SeqCst) < before + commands {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, waiting)
        .await
        .unwrap_or_else(|_| panic!("no writer has written for {TIMEOUT:?}"));
}

/// Returns the acknowledgements of a child up to the moment it was killed.
fn run_and_kill(url: &str, schema: &str, life: Duration, wait_for_life: bool) -> Acknowledged {
    let program = std::env::current_exe().expect("this program");
    let arguments = [
        "--exact",
        "child_process_writes_until_it_is_killed",
        "--nocapture",
    ];
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(CHILD_URL, url)
        .env(CHILD_SCHEMA, schema)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("a child process");
    let lines = listen(child.stdout.take().expect("its standard output"));
    let first = wait_for_life.then(|| lines.recv_timeout(TIMEOUT).expect("a child that writes"));
    thread::sleep(life);
    child.kill().expect("kill -9");
    let status = child.wait().expect("a status");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the child has ended by itself"
    );
    first.into_iter().chain(lines).collect()
}

/// Waits until the server has finished the requests of a killed child.
async fn wait_for_the_end_of_the_child(outsider: &Client) {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    let waiting = async {
        while outsider
            .query_one(connections, &[&CHILD_USER])
            .await
            .expect("a number")
            .get::<_, i64>(0)
            > 0
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, waiting)
        .await
        .expect("the server ends the connections of a killed process");
}

/// Receives the acknowledgements until the end of the output. An incomplete last line does not count.
fn listen(output: ChildStdout) -> mpsc::Receiver<(CommandId, (u64, Position))> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if line.ends_with('\n')
                && let Some(acknowledged) = parse(&line)
            {
                let _ = said.send(acknowledged);
            }
            line.clear();
        }
    });
    heard
}

fn parse(line: &str) -> Option<(CommandId, (u64, Position))> {
    let mut words = line.strip_prefix(ACKNOWLEDGED)?.split_whitespace();
    let task = words.next()?.parse().ok()?;
    let command = CommandId::from_uuid(words.next()?.parse().ok()?);
    Some((command, (task, Position::new(words.next()?.parse().ok()?))))
}

async fn check(store: &PostgresStore, acknowledged: &Acknowledged, context: &str) {
    let log = log_of(store).await;
    check_places(&log, context);
    let written = check_whole(&log, context);
    for (command, (_, position)) in acknowledged {
        assert_eq!(
            written.get(command),
            Some(position),
            "command {command} was acknowledged; {context}"
        );
    }
    for task in (0..TASKS).filter(|task| is_follower(*task)) {
        let appends = log
            .iter()
            .filter(|event| event.stream == own_stream(task))
            .count() as u64;
        let reached = store
            .tracking(&follower(task), upstream())
            .await
            .expect("a position");
        assert_eq!(
            reached,
            Position::new(appends),
            "tracking of task {task}; {context}"
        );
    }
    if let Some((command, (task, position))) = acknowledged.iter().next() {
        let again = store
            .append(append(*task, *command, None))
            .await
            .expect("the first receipt");
        let receipt = Receipt {
            command_id: Some(*command),
            ..Receipt::at(store.log_id(), *position)
        };
        assert_eq!(
            (again.receipt, again.repeated),
            (receipt, true),
            "{context}"
        );
    }
}

/// Checks that positions grow and that the versions of each stream have no holes.
fn check_places(log: &[StoredEvent], context: &str) {
    assert!(
        log.is_sorted_by(|one, next| one.position < next.position),
        "positions do not grow; {context}"
    );
    let mut versions: HashMap<&StreamId, Version> = HashMap::new();
    for event in log {
        let version = versions.entry(&event.stream).or_default();
        *version = version.next();
        assert_eq!(
            event.version, *version,
            "stream {}; {context}",
            event.stream
        );
    }
}

/// Checks that every append is there once, with all its events. Returns the position of the last event of each command.
fn check_whole(log: &[StoredEvent], context: &str) -> HashMap<CommandId, Position> {
    let mut found: HashMap<CommandId, (usize, usize, Position)> = HashMap::new();
    for event in log {
        let payload = String::from_utf8(event.payload.clone()).expect("text");
        let (command, events) = payload.split_once(' ').expect("a command and a count");
        let command = CommandId::from_uuid(command.parse().expect("a command"));
        let events = events.parse().expect("a count");
        let (seen, _, last) = found.entry(command).or_insert((0, events, event.position));
        (*seen, *last) = (*seen + 1, event.position);
    }
    for (command, (seen, events, _)) in &found {
        assert_eq!(seen, events, "events of command {command}; {context}");
    }
    found
        .into_iter()
        .map(|(command, (_, _, last))| (command, last))
        .collect()
}

/// Checks that the reader has seen the log, no more and no less, and returns its length.
async fn check_seen(store: &PostgresStore, reader: Follower) -> usize {
    let log = log_of(store).await;
    let seen = reader
        .seen_until(log.last().expect("events").position)
        .await;
    let seen: Vec<_> = seen.into_iter().map(|(_, event)| event).collect();
    let positions = |events: &[StoredEvent]| {
        events
            .iter()
            .map(|event| event.position)
            .collect::<HashSet<_>>()
    };
    let missed: Vec<_> = positions(&log)
        .difference(&positions(&seen))
        .copied()
        .collect();
    assert!(missed.is_empty(), "the reader has missed {missed:?}");
    assert!(seen == log, "the reader has seen events that are not there");
    seen.len()
}
