//! [`Writer`]: appends that show later if they are whole and there once.

use std::convert::Infallible;
use std::fmt;
use std::io::{Write, stdout};
use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, Expected, FollowerStore, LogId, Name, Position, StoreError, StreamId,
    Tracking,
};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::fixtures::event;

/// The number of tasks that write at once.
const WRITERS: u64 = 6;
/// The first word of a line of the child. The test harness prints lines of its own.
const ACKNOWLEDGED: &str = "acknowledged";
/// The wait before a store that is unavailable is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Writes from several tasks and prints every acknowledgement. Does not return; the process is killed.
///
/// # Panics
/// The store fails.
pub async fn write_until_killed<S: FollowerStore + Clone>(store: S) {
    let mut tasks = JoinSet::new();
    for writer in Writer::all() {
        tasks.spawn(write_without_end(store.clone(), writer));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task that never ends");
    }
}

async fn write_without_end(store: impl FollowerStore, writer: Writer) -> Infallible {
    loop {
        let acknowledgement = writer.write(&store, Duration::ZERO).await;
        // One call writes the line, so that lines of several tasks do not mix.
        stdout()
            .write_all(format!("{acknowledgement}\n").as_bytes())
            .expect("the parent listens");
    }
}

/// One of the tasks that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer(u64);

impl Writer {
    /// Returns all writers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..WRITERS).map(Self)
    }

    /// Carries out one new command. A store that is unavailable is asked again for `outage_max`, which is zero where no outage is
    /// expected.
    ///
    /// # Panics
    /// The store fails, or is unavailable for longer.
    pub async fn write(self, store: &impl FollowerStore, outage_max: Duration) -> Acknowledgement {
        let command = CommandId::new();
        let follower = self.follower();
        let tracked = match self.has_follower() {
            true => {
                let position = || store.tracking(&follower, upstream());
                Some(available("tracking", outage_max, position).await)
            }
            false => None,
        };
        let append = self.append(command, tracked);
        let appended = available("append", outage_max, || store.append(append.clone())).await;
        Acknowledgement {
            command,
            writer: self,
            position: appended.receipt.position,
        }
    }

    /// Returns the append of a command: its first event goes to the stream of the writer, its second to a stream that all writers
    /// share. The payload of each event is the command and the number of events in the append.
    pub(super) fn append(self, command: CommandId, tracked: Option<Position>) -> Append {
        let events = if self.0.is_multiple_of(2) { 1 } else { 2 };
        let payload = format!("{command} {events}");
        let shared = (events == 2).then(|| event(payload.clone()));
        let mut append = Append::new(Timestamp::UNIX_EPOCH)
            .with_command_id(command)
            .with_events(self.stream(), Expected::Any, vec![event(payload)]);
        if let Some(shared) = shared {
            let stream = StreamId::new("shared", Uuid::nil());
            append = append.with_events(stream, Expected::Any, vec![shared]);
        }
        match tracked {
            Some(from) => append.with_tracking(self.step(from)),
            None => append,
        }
    }

    /// Returns the stream to which only this writer writes.
    pub(super) fn stream(self) -> StreamId {
        StreamId::new("own", Uuid::from_u64_pair(0, self.0))
    }

    /// Every third writer moves a follower.
    pub(super) fn has_follower(self) -> bool {
        self.0.is_multiple_of(3)
    }

    pub(super) fn follower(self) -> Name {
        format!("follower-{}", self.0).into()
    }

    /// The follower counts the appends of the writer.
    fn step(self, from: Position) -> Tracking {
        let to = Position::new(from.as_u64() + 1);
        Tracking::new(self.follower(), upstream(), from, to)
    }
}

/// The log that the followers of writers follow.
pub(super) fn upstream() -> LogId {
    LogId::from_uuid(Uuid::nil())
}

/// Returns the answer of `call` as soon as the store is available.
async fn available<T, C>(what: &str, outage_max: Duration, mut call: impl FnMut() -> C) -> T
where
    C: Future<Output = Result<T, StoreError>>,
{
    let start = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(StoreError::Unavailable { .. }) if start.elapsed() < outage_max => {
                sleep(ASK_AGAIN).await;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

/// An append that the store has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Acknowledgement {
    /// The command of the append.
    pub command: CommandId,
    /// The task that has written it.
    pub writer: Writer,
    /// The position of its last event.
    pub position: Position,
}

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            writer: Writer(writer),
            position,
        } = self;
        write!(f, "{ACKNOWLEDGED} {writer} {command} {position}")
    }
}

impl Acknowledgement {
    /// Returns `None` for a line that the test harness has printed.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [ACKNOWLEDGED, writer, command, position] = words[..] else {
            return None;
        };
        Some(Self {
            command: CommandId::from_uuid(command.parse().ok()?),
            writer: Writer(writer.parse().ok()?),
            position: Position::new(position.parse().ok()?),
        })
    }
}
