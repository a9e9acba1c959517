//! [`CommandBatch`]: commands that are decided one after the other, on the same roots in memory, and written in one append.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::aggregate::root::KeptRoot;
use crate::store::{
    Appended, CommandId, Receipt, ReceiptKind, SharedAnswer, SharedCommand, StoreError, StreamId,
    Written,
};

/// The maximum of commands that are written together.
const COMMANDS_MAX: usize = 256;
/// A batch takes no further command when it has this many events: half of what an append may have.
const EVENTS_MAX: usize = crate::store::EVENTS_PER_APPEND_MAX / 2;

/// Commands that wait for one append.
#[expect(missing_debug_implementations, reason = "never leaves an update")]
pub struct CommandBatch {
    /// `None` once the batch is closed: its commands are being written, or never will be.
    pub(super) contents: tokio::sync::Mutex<Option<Contents>>,
    stage: watch::Sender<Stage>,
    /// The number of commands that wait for the answer.
    tickets: AtomicUsize,
    /// Roots that were written, and are left for those who hold the locks of their entries.
    written: Mutex<BTreeMap<StreamId, Box<dyn KeptRoot>>>,
}

/// The commands of a batch that is not closed, and what they have decided.
#[derive(Default)]
pub(crate) struct Contents {
    /// In the order in which they are appended.
    pub(super) roots: BTreeMap<StreamId, Box<dyn KeptRoot>>,
    /// The commands that have an id.
    pub(super) commands: Vec<BatchCommand>,
    /// The number of all commands, also of those that have no id, or only wait for the decisions of others.
    pub(super) joined: usize,
    /// The number of roots that a command has taken out to decide on. It puts them back in any case, unless its future is dropped.
    taken: usize,
    /// The ids of all commands have been looked up, so that none of them can be a repeated one of long ago.
    pub(super) is_strict: bool,
}

/// A command with an id.
pub(super) struct BatchCommand {
    pub(super) id: CommandId,
    /// The last stream it has recorded events in, and after how many events of this batch; `None` if it has recorded nothing.
    pub(super) end: Option<(StreamId, usize)>,
}

/// The right of a command to be told what has become of its batch.
pub(crate) struct BatchTicket {
    batch: Arc<CommandBatch>,
    stage: watch::Receiver<Stage>,
    /// Its place among the commands that have an id.
    place: Option<(CommandId, usize)>,
    has_events: bool,
}

enum Stage {
    Gathering,
    /// From now on it is not known that nothing was written.
    Writing,
    Settled(Result<Appended, Arc<BatchError>>),
    /// Nothing was sent to the store.
    Dissolved,
    /// It is not known what the store has done.
    BrokenOff,
}

/// The reason why a batch was not written.
pub(super) struct BatchError {
    pub(super) error: StoreError,
    /// An attempt had no answer before, and nothing that is known since says that it was not written.
    pub(super) is_unanswered: bool,
}

/// The outcome of a command.
pub(crate) enum Outcome {
    Written(Receipt),
    /// There was nothing to write, and what was decided on is as it is stored.
    Unwritten,
    /// Nothing was written. Decide again, after a while.
    Again(StoreError),
    /// Nothing was written, because another command of the batch was answered before. Decide again.
    AgainAtOnce,
    /// The id has to be looked up first.
    Unverified,
    /// Nothing was written, perhaps because of another command: try alone.
    Apart,
    Failed(StoreError),
}

impl CommandBatch {
    pub(super) fn new() -> Self {
        Self {
            contents: tokio::sync::Mutex::new(None),
            stage: watch::Sender::new(Stage::Gathering),
            tickets: AtomicUsize::new(0),
            written: Mutex::default(),
        }
    }

    pub(super) fn is_gathering(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Gathering)
    }

    /// Returns `true` if no command waits for the answer.
    pub(super) fn is_deserted(&self) -> bool {
        self.tickets.load(Ordering::SeqCst) == 0
    }

    pub(super) fn ticket(
        self: &Arc<Self>,
        place: Option<(CommandId, usize)>,
        has_events: bool,
    ) -> BatchTicket {
        self.tickets.fetch_add(1, Ordering::SeqCst);
        BatchTicket {
            batch: Arc::clone(self),
            stage: self.stage.subscribe(),
            place,
            has_events,
        }
    }

    /// Waits until it is known what has become of the batch.
    pub(super) async fn settled(&self) {
        let mut stage = self.stage.subscribe();
        settled(&mut stage).await;
    }

    /// From now on no command can say that nothing was written. Returns `false` if they have been told so already.
    pub(super) fn begin(&self) -> bool {
        self.stage.send_if_modified(|stage| {
            let is_gathering = matches!(stage, Stage::Gathering);
            if is_gathering {
                *stage = Stage::Writing;
            }
            is_gathering
        })
    }

    pub(super) fn settle(&self, answer: Result<Appended, BatchError>) {
        self.stage
            .send_replace(Stage::Settled(answer.map_err(Arc::new)));
    }

    /// Ends the batch if it is not settled: its task is gone.
    pub(super) fn abandon(&self) {
        self.stage.send_if_modified(|stage| {
            let ended = match stage {
                Stage::Gathering => Stage::Dissolved,
                Stage::Writing => Stage::BrokenOff,
                Stage::Settled(_) | Stage::Dissolved | Stage::BrokenOff => return false,
            };
            *stage = ended;
            true
        });
    }

    /// Keeps a root that is written for the command that holds the lock of its entry.
    pub(super) fn keep_written(&self, stream: StreamId, root: Box<dyn KeptRoot>) {
        self.written().insert(stream, root);
    }

    pub(super) fn take_written(&self, stream: &StreamId) -> Option<Box<dyn KeptRoot>> {
        self.written().remove(stream)
    }

    fn written(&self) -> std::sync::MutexGuard<'_, BTreeMap<StreamId, Box<dyn KeptRoot>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn settled(stage: &mut watch::Receiver<Stage>) {
    let is_settled = |stage: &Stage| !matches!(stage, Stage::Gathering | Stage::Writing);
    // An error would say that the batch is gone, which its ticket keeps.
    let _ = stage.wait_for(is_settled).await;
}

impl Contents {
    /// Returns `true` if the batch takes a further command with this id, or with none.
    pub(super) fn admits(&self, id: Option<CommandId>) -> bool {
        let events = self.roots.values().map(|root| root.pending_count());
        self.is_whole()
            && self.joined < COMMANDS_MAX
            && self.commands.iter().all(|command| Some(command.id) != id)
            && events.sum::<usize>() < EVENTS_MAX
    }

    pub(super) fn is_full(&self) -> bool {
        self.joined >= COMMANDS_MAX
    }

    /// Returns `false` if the future of a command was dropped that had taken roots out.
    pub(super) fn is_whole(&self) -> bool {
        self.taken == 0
    }

    pub(super) fn kind_of(&self, stream: &StreamId) -> Option<TypeId> {
        self.roots.get(stream).map(|root| root.kind())
    }

    pub(super) fn take(&mut self, stream: &StreamId) -> Option<Box<dyn KeptRoot>> {
        let root = self.roots.remove(stream)?;
        self.taken += 1;
        Some(root)
    }

    pub(super) fn put(&mut self, stream: StreamId, root: Box<dyn KeptRoot>) {
        self.roots.insert(stream, root);
    }

    /// All roots have been put back.
    pub(super) fn make_whole(&mut self) {
        self.taken = 0;
    }

    /// The commands that have an id, as the append names them: with the place of the last event of each among all of them.
    pub(super) fn shared_commands(&self) -> Vec<SharedCommand> {
        let mut before = BTreeMap::new();
        let mut events = 0;
        for (stream, root) in &self.roots {
            before.insert(stream, events);
            events += root.pending_count();
        }
        let shared = self.commands.iter().map(|command| SharedCommand {
            id: command.id,
            answer: match &command.end {
                Some((stream, count)) => SharedAnswer::Recorded {
                    last_event: before.get(stream).map_or(0, |before| before + count - 1),
                },
                None => SharedAnswer::NothingRecorded,
            },
        });
        shared.collect()
    }
}

impl BatchTicket {
    /// Waits until it is known what has become of the command.
    pub(super) async fn outcome(mut self) -> Outcome {
        settled(&mut self.stage).await;
        match &*self.stage.borrow() {
            Stage::Gathering | Stage::Dissolved => Outcome::Apart,
            Stage::Writing | Stage::BrokenOff => Outcome::Failed(broken_off()),
            Stage::Settled(Ok(appended)) => Outcome::Written(self.receipt(appended)),
            Stage::Settled(Err(error)) => self.outcome_after(error),
        }
    }

    fn receipt(&self, appended: &Appended) -> Receipt {
        match self.place {
            Some((_, place)) => appended.shared[place],
            // A reader beyond the last event of the batch has read those of the command, and all that the command has read.
            None => Receipt {
                kind: if self.has_events {
                    ReceiptKind::Recorded
                } else {
                    ReceiptKind::NothingRecorded
                },
                command_id: None,
                ..appended.receipt
            },
        }
    }

    /// Returns the meaning of a failed append for each of its commands.
    fn outcome_after(&self, failure: &Arc<BatchError>) -> Outcome {
        let BatchError {
            error,
            is_unanswered,
        } = &**failure;
        match error {
            StoreError::Repeated { receipts } => self.outcome_of_repeated(receipts, *is_unanswered),
            StoreError::Conflict {
                stream,
                expected,
                actual,
            } => Outcome::Again(StoreError::Conflict {
                stream: stream.clone(),
                expected: *expected,
                actual: *actual,
            }),
            StoreError::OutdatedEpoch { asked, current } => {
                Outcome::Again(StoreError::OutdatedEpoch {
                    asked: *asked,
                    current: *current,
                })
            }
            StoreError::Unavailable {
                reason, written, ..
            } => Outcome::Failed(StoreError::Unavailable {
                reason: reason.clone(),
                written: *written,
                source: Some(Arc::clone(failure).into()),
            }),
            _ => Outcome::Apart,
        }
    }

    /// If an attempt without an answer may be the one that has answered the commands, a command without an id cannot know.
    fn outcome_of_repeated(&self, receipts: &[Receipt], is_unanswered: bool) -> Outcome {
        let own = self.place.and_then(|(id, _)| {
            receipts
                .iter()
                .find(|receipt| receipt.command_id == Some(id))
        });
        match own {
            Some(receipt) => Outcome::Written(*receipt),
            None if is_unanswered && self.place.is_none() => Outcome::Failed(broken_off()),
            None => Outcome::AgainAtOnce,
        }
    }
}

impl Drop for BatchTicket {
    fn drop(&mut self) {
        self.batch.tickets.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Outcome {
    /// Returns the meaning of an append's answer for its only command.
    pub(super) fn of_one(answer: Result<Appended, StoreError>) -> Self {
        match answer {
            Ok(appended) => Self::Written(appended.receipt),
            Err(error @ (StoreError::Conflict { .. } | StoreError::OutdatedEpoch { .. })) => {
                Self::Again(error)
            }
            Err(error) => Self::Failed(error),
        }
    }
}

fn broken_off() -> StoreError {
    let reason = "an append together with other commands was broken off".to_owned();
    StoreError::Unavailable {
        reason,
        written: Written::Unknown,
        source: None,
    }
}

impl std::fmt::Debug for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
