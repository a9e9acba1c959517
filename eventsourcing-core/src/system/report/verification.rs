//! [`Verification`]: what came of it, for people and programs.

use std::fmt;

use crate::store::{LogChecksum, LogId, LogSlice, Name, Position, StreamId, Version};

/// Whether followers have dealt with every event, and with each once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// Each follower, in the order of declaration; one that follows several logs once for each.
    pub followers: Vec<FollowerVerification>,
}

/// What one follower has dealt with in one log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerVerification {
    /// Its name.
    pub name: Name,
    /// The log.
    pub log: LogId,
    /// Where it was; of several partitions the one that was least far.
    pub position: Position,
    /// How many events it should have dealt with.
    pub events: u64,
    /// How many slices of the log were compared.
    pub slices: u64,
    /// Where it differs from the log.
    pub differences: Vec<Difference>,
    /// Why nothing can be said about it.
    pub unchecked: Option<String>,
}

/// A slice of the log in which a follower has not dealt with each event once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The follower as its notes are kept under: with its partition, or its generation.
    pub follower: Name,
    /// Where it is.
    pub slice: LogSlice,
    /// What it should have dealt with.
    pub expected: LogChecksum,
    /// What it has dealt with.
    pub noted: LogChecksum,
    /// Which events it is about, as far as that can be told.
    pub finding: Finding,
}

/// Which events a follower has not dealt with once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It has not dealt with these.
    Missing(Vec<EventPlace>),
    /// It has dealt with these twice.
    Doubled(Vec<EventPlace>),
    /// It has not dealt with one of these, and with the other twice; checksums do not tell which is which.
    Exchanged([EventPlace; 2]),
    /// It has not dealt with one event, and in its place with one that it does not take, or from another slice.
    Replaced {
        /// The event it has not dealt with.
        missing: EventPlace,
        /// What it has dealt with instead.
        by: EventPlace,
    },
    /// It has also dealt with this event, which it does not take, or from another slice.
    Stray(EventPlace),
    /// More is wrong than can be told from checksums.
    Unclear,
}

/// Which event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPlace {
    /// Its name.
    pub name: Name,
    /// The aggregate.
    pub stream: StreamId,
    /// Its version.
    pub version: Version,
    /// Its position.
    pub position: Position,
}

/// How far a verification is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The follower that is looked at.
    pub follower: Name,
    /// Up to here it has been.
    pub position: Position,
    /// Up to here it will be.
    pub end: Position,
}

impl Verification {
    /// Whether every follower was checked and has dealt with each event once.
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

    /// What another version of a read model has noted. If that is the same, all is well; if not, it may take other events.
    pub(in crate::system) fn of_other_version(mut self, version: u32) -> Self {
        if !self.differences.is_empty() {
            self.differences.clear();
            let why = format!(
                "version {version} of it answers, which may take other events; ask a program that has it"
            );
            self.unchecked = Some(why);
        }
        self
    }

    /// Whether it was checked and has dealt with each event once.
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
            (None, 0) => f.write_str("each dealt with once"),
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
                    "{} too many came, besides {}",
                    number_of(more),
                    number_of(expected.count)
                ),
                less => write!(f, "of {} {} did not come", number_of(expected.count), -less),
            },
        }
    }
}

/// How many events too many, or too few if it is negative.
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
