//! [`Verification`]: the result of checking that followers have processed each event once.

use std::fmt;

use crate::store::{LogChecksum, LogId, LogSlice, Name, Position, StreamId, Version};

/// The result of checking that all followers have processed each event once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The followers in the order of declaration; a follower of several logs has one entry for each
    /// log.
    pub followers: Vec<FollowerVerification>,
}

/// The result of the check of one follower on one log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerVerification {
    /// The name of the follower.
    pub name: Name,
    /// The log.
    pub log: LogId,
    /// The position of the follower; the lowest one if it runs in partitions.
    pub position: Position,
    /// The number of events that it should have processed.
    pub events: u64,
    /// The number of slices of the log that were compared.
    pub slices: u64,
    /// The slices that differ from the log.
    pub differences: Vec<Difference>,
    /// The reason why it was not checked; `None` if it was.
    pub unchecked: Option<String>,
}

/// A slice of the log in which a follower has not processed each event once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The name under which the follower keeps its notes, with its partition or generation.
    pub follower: Name,
    /// The range of positions.
    pub slice: LogSlice,
    /// The checksum of the events that it should have processed.
    pub expected: LogChecksum,
    /// The checksum of the events that it has processed.
    pub noted: LogChecksum,
    /// The events that make the difference, where the checksums reveal them.
    pub finding: Finding,
}

/// The events that a follower has not processed once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The follower has not processed these events.
    Missing(Vec<EventPlace>),
    /// The follower has processed these events twice.
    Doubled(Vec<EventPlace>),
    /// The follower has not processed one of these events and has processed the other twice;
    /// checksums do not tell which is which.
    Exchanged([EventPlace; 2]),
    /// The follower has not processed one event. In its place it has processed an event that it
    /// does not take, or one of another slice.
    Replaced {
        /// The event that it has not processed.
        missing: EventPlace,
        /// The event that it has processed instead.
        by: EventPlace,
    },
    /// The follower has also processed this event, which it does not take, or which is of another
    /// slice.
    Stray(EventPlace),
    /// More events differ than checksums can reveal.
    Unclear,
}

/// The identity of one event: its name, stream, version and position.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPlace {
    /// The name of the event.
    pub name: Name,
    /// The stream of the aggregate.
    pub stream: StreamId,
    /// The version of the event.
    pub version: Version,
    /// The position of the event.
    pub position: Position,
}

/// The progress of a verification.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The follower that is being checked.
    pub follower: Name,
    /// The position up to which it has been checked.
    pub position: Position,
    /// The position up to which it will be checked.
    pub end: Position,
}

impl Verification {
    /// Returns `true` if every follower was checked and has processed each event once.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.followers.iter().all(FollowerVerification::agrees)
    }

    /// The differences of all followers.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.followers
            .iter()
            .flat_map(|follower| &follower.differences)
    }
}

impl FollowerVerification {
    pub(in crate::system) fn new(name: Name, log: LogId, position: Position) -> Self {
        Self {
            name,
            log,
            position,
            events: 0,
            slices: 0,
            differences: Vec::new(),
            unchecked: None,
        }
    }

    /// Adapts the result for notes that another version of a read model has written. Equal
    /// checksums prove that all is well; unequal ones prove nothing, since that version may take
    /// other events.
    pub(in crate::system) fn of_other_version(mut self, version: u32) -> Self {
        if !self.differences.is_empty() {
            self.differences.clear();
            let why = format!(
                "version {version} of it is live and may take other events; verify with a program of that version"
            );
            self.unchecked = Some(why);
        }
        self
    }

    /// Returns `true` if the follower was checked and has processed each event once.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.unchecked.is_none()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, follower) in self.followers.iter().enumerate() {
            write!(f, "{}{follower}", if number == 0 { "" } else { "\n" })?;
        }
        self.differences()
            .try_for_each(|difference| write!(f, "\n{difference}"))
    }
}

impl fmt::Display for FollowerVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            position,
            events,
            differences,
            unchecked,
            ..
        } = self;
        write!(f, "{name}: {events} events up to position {position}: ")?;
        match (unchecked, differences.len()) {
            (Some(why), _) => write!(f, "not checked: {why}"),
            (None, 0) => f.write_str("each processed once"),
            (None, 1) => f.write_str("1 difference"),
            (None, differences) => write!(f, "{differences} differences"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            follower,
            slice,
            expected,
            noted,
            finding,
        } = self;
        write!(f, "{follower}, positions {slice}: ")?;
        match finding {
            Finding::Missing(events) => {
                all_of(f, events)?;
                f.write_str(if events.len() == 1 {
                    " is missing"
                } else {
                    " are missing"
                })
            }
            Finding::Doubled(events) => {
                all_of(f, events)?;
                f.write_str(" came twice")
            }
            Finding::Exchanged([one, other]) => {
                write!(
                    f,
                    "of {one} and {other} one is missing and the other came twice"
                )
            }
            Finding::Replaced { missing, by } => {
                write!(f, "{missing} is missing, and in its place came {by}")
            }
            Finding::Stray(event) => write!(f, "{event} came, and does not belong there"),
            Finding::Unclear => match surplus(*expected, *noted) {
                0 => write!(
                    f,
                    "of {} some are not those that came",
                    number_of(expected.count)
                ),
                more @ 1.. => write!(
                    f,
                    "{} too many came, in addition to {}",
                    number_of(more),
                    number_of(expected.count)
                ),
                less => write!(f, "of {} {} did not come", number_of(expected.count), -less),
            },
        }
    }
}

/// Returns the number of events that were processed too often; negative if some were not processed.
pub(in crate::system) fn surplus(expected: LogChecksum, noted: LogChecksum) -> i128 {
    i128::from(noted.count) - i128::from(expected.count)
}

fn number_of(events: impl Into<i128>) -> String {
    match events.into() {
        1 => "1 event".to_owned(),
        events => format!("{events} events"),
    }
}

fn all_of(f: &mut fmt::Formatter<'_>, events: &[EventPlace]) -> fmt::Result {
    let events: Vec<_> = events.iter().map(ToString::to_string).collect();
    f.write_str(&events.join(" and "))
}

impl fmt::Display for EventPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            stream,
            version,
            position,
        } = self;
        write!(
            f,
            "{name} of {stream}, version {version}, at position {position}"
        )
    }
}
