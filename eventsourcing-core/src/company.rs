//! [`Company`]: commands on one aggregate that are written in one append.
//!
//! While one append of an aggregate is under way, the next commands on it gather. Then each decides on what the ones before it
//! have decided, and all of it becomes one append, all or nothing: a busy aggregate is not held to one command a commit. A
//! lone command finds nobody to wait for. How it goes is in `application/company.rs`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::{Receipt, StoreError, Written};

/// How many commands are written together at most.
const COMMANDS_MAX: usize = 256;

/// Commands that wait for one append. Dropped, it tells them that they were not written, unless the append had begun.
pub(crate) struct Company {
    stage: watch::Sender<Stage>,
    commands: usize,
}

/// A command that belongs to a company.
pub(crate) struct Member(watch::Receiver<Stage>);

enum Stage {
    /// Nothing has been sent to the store.
    Gathering,
    Writing,
    Settled(Result<Receipt, Arc<StoreError>>),
}

/// What has become of a command.
pub(crate) enum Outcome {
    Written(Receipt),
    /// There was nothing to write, neither for it nor for others.
    Nothing,
    /// Nothing was written. Decide again.
    Again(StoreError),
    /// Nothing was written, perhaps because of another command: try alone.
    Apart,
    Failed(StoreError),
}

impl Company {
    pub(crate) fn new() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Gathering),
            commands: 0,
        }
    }

    pub(crate) fn join(&mut self) -> Member {
        self.commands += 1;
        Member(self.stage.subscribe())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.commands >= COMMANDS_MAX
    }

    /// Whether none of its commands is waited for any more.
    pub(crate) fn is_deserted(&self) -> bool {
        self.stage.receiver_count() == 0
    }

    /// From now on nobody can say that nothing was written.
    pub(crate) fn begin(&self) {
        self.stage.send_replace(Stage::Writing);
    }

    /// Tells everybody what the store has answered.
    pub(crate) fn settle(self, outcome: Result<Receipt, StoreError>) {
        self.stage
            .send_replace(Stage::Settled(outcome.map_err(Arc::new)));
    }
}

impl Member {
    /// Waits until the company is settled, or gone.
    pub(crate) async fn settled(&mut self) {
        // An error says that it is gone.
        let _ = self
            .0
            .wait_for(|stage| matches!(stage, Stage::Settled(_)))
            .await;
    }

    /// What has become of the company, which is settled or gone.
    pub(crate) fn outcome(&self) -> Outcome {
        match &*self.0.borrow() {
            Stage::Gathering => Outcome::Apart,
            Stage::Writing => Outcome::Failed(broken_off()),
            Stage::Settled(Ok(receipt)) => Outcome::Written(*receipt),
            Stage::Settled(Err(error)) => Outcome::of_several(error),
        }
    }
}

impl Outcome {
    /// What the answer to an append means for the only command in it.
    pub(crate) fn of_one(answer: Result<Receipt, StoreError>) -> Self {
        match answer {
            Ok(receipt) => Self::Written(receipt),
            Err(error @ (StoreError::Conflict { .. } | StoreError::OutdatedEpoch { .. })) => {
                Self::Again(error)
            }
            Err(error) => Self::Failed(error),
        }
    }

    /// What the failure of an append means for each of the commands in it.
    fn of_several(error: &Arc<StoreError>) -> Self {
        match &**error {
            StoreError::Conflict {
                stream,
                expected,
                actual,
            } => {
                let (stream, expected, actual) = (stream.clone(), *expected, *actual);
                Self::Again(StoreError::Conflict {
                    stream,
                    expected,
                    actual,
                })
            }
            StoreError::OutdatedEpoch { asked, current } => {
                Self::Again(StoreError::OutdatedEpoch {
                    asked: *asked,
                    current: *current,
                })
            }
            StoreError::Unavailable {
                reason, written, ..
            } => {
                let (reason, source) = (reason.clone(), Some(Arc::clone(error).into()));
                Self::Failed(StoreError::Unavailable {
                    reason,
                    written: *written,
                    source,
                })
            }
            _ => Self::Apart,
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
