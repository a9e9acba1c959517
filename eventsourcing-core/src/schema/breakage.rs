//! [`Comparison`]: what a change would do to stored events, and what to do about it.

use std::fmt;

use super::compare::{Difference, What};

/// The types of a release beside the lock.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// What must not be released.
    pub breakages: Vec<Breakage>,
    /// What may be released once the lock knows it: one line each.
    pub unrecorded: Vec<String>,
    /// How many versions of events are locked.
    pub versions: usize,
    /// How many golden events were decoded.
    pub samples: usize,
}

/// Stored events that would be read otherwise, or not at all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breakage {
    /// The stored name of the aggregate.
    pub aggregate: String,
    /// The stored name of the event; empty if all events of the aggregate are meant.
    pub event: String,
    /// The locked version; 0 if all events of the aggregate are meant.
    pub version: u16,
    /// What has changed, and where: one line each.
    pub changes: Vec<String>,
    /// What can be done about it: one line each, of which one is enough.
    pub remedies: Vec<String>,
    /// The upcaster to write, to be pasted and completed; empty if none would help.
    pub stub: String,
}

impl Comparison {
    /// Whether the lock is what the types say: nothing is broken, nothing is new.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.breakages.is_empty() && self.unrecorded.is_empty()
    }
}

/// All of it, as people read it.
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
            (0, _) => {
                f.write_str("nothing that is stored breaks, but the lock does not know yet:")?
            }
            _ => f.write_str("events that are stored would be read otherwise, or not at all:")?,
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

/// What has changed, and where.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::FieldRemoved { field } => write!(f, "{} was removed", path.field(field)),
            What::FieldAdded { field } => {
                write!(f, "{} was added, and must be there", path.field(field))
            }
            What::MadeRequired { field } => write!(
                f,
                "{} could be missing, and must be there now",
                path.field(field)
            ),
            What::VariantRemoved { variant, .. } => {
                write!(f, "{path} may not be `{variant}` any more")
            }
            What::NullRefused => write!(f, "{path} could be null, and may not be any more"),
            What::Retyped { was, now } => write!(f, "{path} was {was}, and is {now}"),
        }
    }
}

impl Difference {
    /// What helps without a new version, if it is only that.
    pub(super) fn remedy(&self) -> Option<String> {
        match &self.what {
            What::FieldRemoved { field } => Some(format!(
                "if it was only renamed: `#[serde(alias = \"{field}\")]` on the field that it is now"
            )),
            What::FieldAdded { field } | What::MadeRequired { field } => Some(format!(
                "if older events mean the default: `#[serde(default)]` on `{field}`"
            )),
            What::VariantRemoved { variant, .. } => Some(format!(
                "if it was only renamed: `#[serde(alias = \"{variant}\")]` on the variant that it is now"
            )),
            What::NullRefused | What::Retyped { .. } => None,
        }
    }

    /// What it means the other way round, where something is new.
    pub(super) fn novelty(&self) -> String {
        let path = &self.path;
        match &self.what {
            What::FieldRemoved { field } => format!("{} is new", path.field(field)),
            What::VariantRemoved { variant, .. } => format!("{path} may be `{variant}`"),
            What::FieldAdded { field } | What::MadeRequired { field } => {
                format!("{} may be missing", path.field(field))
            }
            What::NullRefused => format!("{path} may be null"),
            What::Retyped { was, .. } => format!("{path} may be {was}"),
        }
    }
}
