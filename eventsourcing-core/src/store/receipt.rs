//! [`Receipt`]: the durable answer to a command, and the position that a wait for it has to reach.

use serde::{Deserialize, Serialize};

use super::{CommandId, LogId, Position};

/// The answer to a command. All receipts of one command are equal, in every process and forever.
///
/// Every event that the command recorded, or was decided on, lies at or before
/// [`position`](Self::position) of [`log`](Self::log). So a wait for a receipt ends when its
/// effects, or the events it was decided on, can be read.
///
/// # As JSON
///
/// ```
/// # use eventsourcing_core::store::{CommandId, LogId, Position, Receipt, ReceiptKind};
/// let text = r#"{"log":"0b9e3b1c-54a2-4c6e-9b0a-3d6c1a3f7e55","kind":"nothing_recorded","position":7,"command_id":null}"#;
/// let receipt: Receipt = serde_json::from_str(text)?;
/// assert_eq!((receipt.kind, receipt.position), (ReceiptKind::NothingRecorded, Position::new(7)));
/// assert_eq!(serde_json::to_string(&receipt)?, text);
///
/// // As earlier releases have written it.
/// let earlier: Receipt = serde_json::from_str(r#"{"position":7,"command_id":null}"#)?;
/// assert_eq!((earlier.log, earlier.kind), (LogId::UNKNOWN, ReceiptKind::Recorded));
/// # Ok::<_, serde_json::Error>(())
/// ```
///
/// `kind` is `recorded`, `nothing_recorded` or `rejected`. In a receipt of an earlier release,
/// which has neither `log` nor `kind`, the log is [`LogId::UNKNOWN`], and the kind follows from the
/// position: zero means that nothing was recorded or, with a command id, that the command was
/// rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "AnyReceipt")]
pub struct Receipt {
    /// The log of [`position`](Self::position).
    pub log: LogId,
    /// The kind of answer.
    pub kind: ReceiptKind,
    /// The position of the last event of the append. If there was no event: the position of the
    /// last event that was visible when the answer was stored, so that everything the decision has
    /// seen lies at or before it. Zero in a receipt of an append with neither event nor command,
    /// which is the answer to no decision.
    pub position: Position,
    /// The command, if it was named.
    pub command_id: Option<CommandId>,
}

/// The kinds of answers to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// The command was carried out, and events were recorded.
    Recorded,
    /// The command was carried out, and there was nothing to record.
    NothingRecorded,
    /// The domain rejected the command, and the rejection was kept.
    Rejected,
}

impl Receipt {
    /// Returns a receipt that stands for everything up to `position` of `log`: to wait for it.
    #[must_use]
    pub const fn at(log: LogId, position: Position) -> Self {
        Self {
            log,
            kind: ReceiptKind::Recorded,
            position,
            command_id: None,
        }
    }
}

impl ReceiptKind {
    /// Returns the kind of a receipt that was stored by an earlier release, without its kind. Such
    /// a release stored an answer without events only if it was a rejection, and stored it at
    /// position zero.
    #[must_use]
    pub const fn of_earlier_release(position: Position) -> Self {
        if position.as_u64() == 0 {
            Self::Rejected
        } else {
            Self::Recorded
        }
    }

    /// Returns the number of the kind in the tables of stores.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Recorded => 0,
            Self::NothingRecorded => 1,
            Self::Rejected => 2,
        }
    }

    /// Returns the kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Recorded),
            1 => Some(Self::NothingRecorded),
            2 => Some(Self::Rejected),
            _ => None,
        }
    }
}

/// A receipt in the form of any release.
#[derive(Deserialize)]
struct AnyReceipt {
    #[serde(default)]
    log: Option<LogId>,
    #[serde(default)]
    kind: Option<ReceiptKind>,
    position: Position,
    #[serde(default)]
    command_id: Option<CommandId>,
}

impl From<AnyReceipt> for Receipt {
    fn from(
        AnyReceipt {
            log,
            kind,
            position,
            command_id,
        }: AnyReceipt,
    ) -> Self {
        let of_earlier_release = match command_id {
            None if position == Position::ZERO => ReceiptKind::NothingRecorded,
            _ => ReceiptKind::of_earlier_release(position),
        };
        Self {
            log: log.unwrap_or(LogId::UNKNOWN),
            kind: kind.unwrap_or(of_earlier_release),
            position,
            command_id,
        }
    }
}

/// The answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The receipt of the append as a whole, and of its command if all of it belongs to one.
    pub receipt: Receipt,
    /// `true` if the command had been answered before: nothing was written this time.
    pub repeated: bool,
    /// The receipts of the commands that share the append, in their order; otherwise empty.
    pub shared: Vec<Receipt>,
}

impl Appended {
    /// The answer to an append that was written, and that no several commands share.
    #[must_use]
    pub const fn new(receipt: Receipt) -> Self {
        Self {
            receipt,
            repeated: false,
            shared: Vec::new(),
        }
    }

    /// The answer to a command that was answered before with `receipt`.
    #[must_use]
    pub const fn repeated(receipt: Receipt) -> Self {
        Self {
            receipt,
            repeated: true,
            shared: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Receipt {
        serde_json::from_str(text).expect("it is a receipt")
    }

    #[test]
    fn receipts_come_back_from_their_json() {
        for kind in [
            ReceiptKind::Recorded,
            ReceiptKind::NothingRecorded,
            ReceiptKind::Rejected,
        ] {
            for command_id in [None, Some(CommandId::new())] {
                let receipt = Receipt {
                    log: LogId::new(),
                    kind,
                    position: Position::new(7),
                    command_id,
                };
                let text = serde_json::to_string(&receipt).expect("it is JSON");
                assert_eq!(read(&text), receipt, "{text}");
                assert_eq!(ReceiptKind::from_number(kind.number()), Some(kind));
            }
        }
    }

    #[test]
    fn receipts_of_earlier_releases_say_by_their_position_what_they_are() {
        let id = "0197a1b2-0000-7000-8000-000000000001";
        for (position, command, kind) in [
            (7, format!("\"{id}\""), ReceiptKind::Recorded),
            (7, "null".to_owned(), ReceiptKind::Recorded),
            (0, format!("\"{id}\""), ReceiptKind::Rejected),
            (0, "null".to_owned(), ReceiptKind::NothingRecorded),
        ] {
            let receipt = read(&format!(
                "{{\"position\":{position},\"command_id\":{command}}}"
            ));
            assert_eq!(
                (receipt.kind, receipt.log),
                (kind, LogId::UNKNOWN),
                "{position} {command}"
            );
        }
    }
}
