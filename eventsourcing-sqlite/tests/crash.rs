//! Acknowledged appends survive `kill -9`. Promises P2, P6, P20 and P27.
//!
//! A child process writes from several tasks and reports acknowledgements on its standard output. It is killed at a
//! random moment; then the file must hold every acknowledged append exactly once, and every append whole. This repeats
//! many times on the same file. To repeat a run, set `EVENTSOURCING_TEST_SEED` to the seed that a failure prints.

mod fixture;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, LogId, LogQuery, Name, Position, Receipt, StoredEvent,
    StreamId, Tracking, Version,
};
use eventsourcing_sqlite::SqliteStore;
use fixture::{Place, event};
use jiff::Timestamp;
use uuid::Uuid;

const KILLS: usize = 80;
/// The longest life of a child, counted from its first acknowledgement or else from its start.
const LIFE_MILLISECONDS_MAX: u64 = 80;
const TASKS: u64 = 6;

/// Set for a child process: the path of its store.
const CHILD_PATH: &str = "EVENTSOURCING_TEST_CHILD_PATH";
const SEED: &str = "EVENTSOURCING_TEST_SEED";
/// The first word of the child's lines; the test harness prints lines of its own.
const ACKNOWLEDGED: &str = "acknowledged";

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
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let store = SqliteStore::open(&path).await.expect("a store");
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(write_without_end(store.clone(), task)))
        .collect();
    for task in tasks {
        task.await.expect("a task that never ends");
    }
}

async fn write_without_end(store: SqliteStore, task: u64) {
    loop {
        let command = CommandId::new();
        let tracked = match is_follower(task) {
            true => Some(
                store
                    .tracking(&follower(task), upstream())
                    .await
                    .expect("a position"),
            ),
            false => None,
        };
        let receipt = store
            .append(append(task, command, tracked))
            .await
            .expect("a receipt")
            .receipt;
        let line = format!("{ACKNOWLEDGED} {task} {command} {}\n", receipt.position);
        stdout()
            .write_all(line.as_bytes())
            .expect("the parent listens");
    }
}

#[tokio::test]
async fn acknowledged_appends_survive_kill_9() {
    let seed = std::env::var(SEED).map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("a number"),
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new();
    let mut acknowledged = HashMap::new();
    // While another process has the file open, closing does not remove the write-ahead log, and a kill leaves it in
    // use.
    let mut bystander: Option<SqliteStore> = None;
    for round in 0..KILLS {
        if random.u8(..) < 64 {
            bystander = match bystander {
                None => Some(place.store().await),
                Some(_) => None,
            };
        }
        let life = Duration::from_millis(random.u64(0..LIFE_MILLISECONDS_MAX));
        let wait_for_life = random.u8(..) > 32;
        acknowledged.extend(run_and_kill(&place.file(), life, wait_for_life));
        let context = format!("round {round}, {SEED}={seed}");
        check(&place, &acknowledged, &context).await;
    }
    assert!(
        acknowledged.len() > KILLS,
        "hardly anything was written, {SEED}={seed}"
    );
}

/// Returns the acknowledgements of a child up to the moment it was killed: tasks and positions.
fn run_and_kill(
    path: &Path,
    life: Duration,
    wait_for_life: bool,
) -> Vec<(CommandId, (u64, Position))> {
    let program = std::env::current_exe().expect("this program");
    let arguments = [
        "--exact",
        "child_process_writes_until_it_is_killed",
        "--nocapture",
    ];
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(CHILD_PATH, path)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("a child process");
    let lines = listen(child.stdout.take().expect("its standard output"));
    let first = wait_for_life.then(|| lines.recv().expect("a child that writes"));
    thread::sleep(life);
    child.kill().expect("kill -9");
    let status = child.wait().expect("a status");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the child has ended by itself"
    );
    assert!(!status.success());
    first.into_iter().chain(lines).collect()
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

async fn check(place: &Place, acknowledged: &HashMap<CommandId, (u64, Position)>, context: &str) {
    let store = place.store().await;
    let log = store
        .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .expect("the log")
        .events;
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
    store.close().await;
    check_file(&place.file(), context);
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

fn check_file(path: &Path, context: &str) {
    let file = rusqlite::Connection::open(path).expect("a connection");
    let verdict: String = file
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(verdict, "ok", "{context}");
}
