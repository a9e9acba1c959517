//! [`Comparison`]: the consequences of a change for stored events, and the remedies.

use std::fmt;

use crate::compare::{Change, Difference};

/// The result of comparing the types of a release with the lock.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// Changes that must not be released.
    pub breakages: Vec<Breakage>,
    /// Changes that may be released once the lock contains them: one line each.
    pub unrecorded: Vec<String>,
    /// The number of locked versions of events.
    pub versions: usize,
    /// The number of golden events that were decoded.
    pub samples: usize,
}

/// A change by which stored events would be read differently, or not at all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breakage {
    /// The stored name of the aggregate.
    pub aggregate: String,
    /// The stored name of the event; empty for all events of the aggregate.
    pub event: String,
    /// The locked version; 0 for all events of the aggregate.
    pub version: u16,
    /// The changes and their places: one line each.
    pub changes: Vec<String>,
    /// The possible remedies: one line each, of which one is enough.
    pub remedies: Vec<String>,
    /// The upcaster to write, to be pasted and completed; empty if none would help.
    pub stub: String,
}

impl Comparison {
    /// Returns `true` if the lock equals the types: nothing is broken, nothing is new.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.breakages.is_empty() && self.unrecorded.is_empty()
    }
}

/// Writes the whole report for people.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.breakages.len(), self.unrecorded.len()) {
            (0, 0) => {
                let Self {
                    versions, samples, ..
                } = self;
                write!(
                    f,
                    "{versions} versions of events are as locked, {samples} samples were decoded"
                )?;
            }
            (0, _) => f.write_str("no stored event breaks, but the lock does not contain yet:")?,
            _ => f.write_str("stored events would be read differently, or not at all:")?,
        }
        for breakage in &self.breakages {
            write!(f, "\n\n{breakage}")?;
        }
        for unrecorded in &self.unrecorded {
            write!(f, "\n  {unrecorded}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => f.write_str(&self.aggregate)?,
            version => write!(f, "{} / {} / version {version}", self.aggregate, self.event)?,
        }
        for change in &self.changes {
            write!(f, "\n  changed  {change}")?;
        }
        for (index, remedy) in self.remedies.iter().enumerate() {
            write!(
                f,
                "\n  {}  {remedy}",
                if index == 0 { "to do  " } else { "or     " }
            )?;
        }
        if !self.stub.is_empty() {
            f.write_str("\n")?;
        }
        for line in self.stub.lines() {
            match line {
                "" => f.write_str("\n")?,
                line => write!(f, "\n      {line}")?,
            }
        }
        Ok(())
    }
}

/// Writes the change and its place.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.change {
            Change::FieldRemoved { field } => write!(f, "{} was removed", path.field(field)),
            Change::FieldAdded { field } => {
                write!(f, "{} was added, and must be there", path.field(field))
            }
            Change::MadeRequired { field } => write!(
                f,
                "{} could be missing, and must be there now",
                path.field(field)
            ),
            Change::VariantRemoved { variant, .. } => {
                write!(f, "{path} may not be `{variant}` any more")
            }
            Change::NullRefused => write!(f, "{path} could be null, and may not be any more"),
            Change::Retyped { was, now } => write!(f, "{path} was {was}, and is {now}"),
        }
    }
}

impl Difference {
    /// Returns the remedy that needs no new version, if there is one for this difference.
    pub(crate) fn remedy(&self) -> Option<String> {
        match &self.change {
            Change::FieldRemoved { field } => Some(format!(
                "if it was only renamed: `#[serde(alias = \"{field}\")]` on the field that it is now"
            )),
            Change::FieldAdded { field } | Change::MadeRequired { field } => Some(format!(
                "if older events mean the default: `#[serde(default)]` on `{field}`"
            )),
            Change::VariantRemoved { variant, .. } => Some(format!(
                "if it was only renamed: `#[serde(alias = \"{variant}\")]` on the variant that it is now"
            )),
            Change::NullRefused | Change::Retyped { .. } => None,
        }
    }

    /// Describes the difference in the other direction, for additions.
    pub(crate) fn novelty(&self) -> String {
        let path = &self.path;
        match &self.change {
            Change::FieldRemoved { field } => format!("{} is new", path.field(field)),
            Change::VariantRemoved { variant, .. } => format!("{path} may be `{variant}`"),
            Change::FieldAdded { field } | Change::MadeRequired { field } => {
                format!("{} may be missing", path.field(field))
            }
            Change::NullRefused => format!("{path} may be null"),
            Change::Retyped { was, .. } => format!("{path} may be {was}"),
        }
    }
}
