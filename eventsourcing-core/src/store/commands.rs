//! [`Commands`]: the commands that one append answers, and what each of them gets.

use std::collections::HashSet;

use super::limits::invalid;
use super::{COMMANDS_PER_APPEND_MAX, CommandId, ReceiptKind, StoreError};

/// The commands that an append answers, each of which is answered once (promises P6 and P7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Commands {
    /// No command is named, so nothing is remembered of the append.
    #[default]
    None,
    /// All of the append belongs to one command. If it was answered before, the append returns the first receipt.
    One {
        /// The command.
        id: CommandId,
        /// The answer is a rejection, and there is no event.
        is_rejection: bool,
    },
    /// Several commands share the append, perhaps with others that have no name. Each gets the receipt that it would have got from
    /// an append of its own. If one of them was answered before, the append is refused with
    /// [`StoreError::Repeated`], because the others may have been decided on what that one seemed to do.
    Several(Vec<SharedCommand>),
}

/// A command that shares an append with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedCommand {
    /// The command.
    pub id: CommandId,
    /// The answer it gets.
    pub answer: SharedAnswer,
}

/// The answer to a command that shares an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedAnswer {
    /// The command has recorded events, and its receipt has the position of the last of them.
    Recorded {
        /// The place of that event among all events of the append, in the order of its streams, counted from 0.
        last_event: usize,
    },
    /// The command had nothing to record. Its receipt has the position of the last event that can be seen once the append is
    /// written, so that whatever it was decided on lies at or before it.
    NothingRecorded,
    /// The command was rejected.
    Rejected,
}

impl Commands {
    /// Returns `true` if no command is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One { .. } => false,
            Self::Several(commands) => commands.is_empty(),
        }
    }

    /// Returns how many commands are named.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One { .. } => 1,
            Self::Several(commands) => commands.len(),
        }
    }

    /// The command that all of the append belongs to, if there is one.
    #[must_use]
    pub fn only(&self) -> Option<CommandId> {
        match self {
            Self::One { id, .. } => Some(*id),
            Self::None | Self::Several(_) => None,
        }
    }

    /// The commands that share the append; none if all of it belongs to one.
    #[must_use]
    pub fn shared(&self) -> &[SharedCommand] {
        match self {
            Self::Several(commands) => commands,
            Self::None | Self::One { .. } => &[],
        }
    }

    /// All ids, in their order.
    pub fn ids(&self) -> impl Iterator<Item = CommandId> + '_ {
        self.only()
            .into_iter()
            .chain(self.shared().iter().map(|command| command.id))
    }

    /// Checks what can be said without the store's data, of an append of as many `events`.
    pub(super) fn validate(&self, events: usize) -> Result<(), StoreError> {
        let shared = match self {
            Self::None => return Ok(()),
            Self::One { is_rejection, .. } if *is_rejection && events > 0 => {
                return Err(invalid("a rejection has no event"));
            }
            Self::One { .. } => return Ok(()),
            Self::Several(shared) => shared,
        };
        if shared.len() > COMMANDS_PER_APPEND_MAX {
            return Err(invalid(format!(
                "{} commands in one append; at most {COMMANDS_PER_APPEND_MAX} are allowed",
                shared.len()
            )));
        }
        let mut ids = HashSet::with_capacity(shared.len());
        let mut ends = HashSet::with_capacity(shared.len());
        for SharedCommand { id, answer } in shared {
            if !ids.insert(id) {
                return Err(invalid(format!("command {id} appears twice in one append")));
            }
            let SharedAnswer::Recorded { last_event } = answer else {
                continue;
            };
            if *last_event >= events {
                return Err(invalid(format!(
                    "command {id} ends with event {last_event}, counted from 0, of an append of {events}"
                )));
            }
            // Archives know a command by the position of its last event.
            if !ends.insert(last_event) {
                return Err(invalid(format!(
                    "command {id} ends with an event with which another command ends"
                )));
            }
        }
        Ok(())
    }
}

impl SharedAnswer {
    /// The kind of receipt that the command gets.
    #[must_use]
    pub const fn kind(self) -> ReceiptKind {
        match self {
            Self::Recorded { .. } => ReceiptKind::Recorded,
            Self::NothingRecorded => ReceiptKind::NothingRecorded,
            Self::Rejected => ReceiptKind::Rejected,
        }
    }
}
