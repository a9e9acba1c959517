//! [`LogHolder`]: who holds a log back, for people who want to know why nothing arrives.

use std::fmt;
use std::time::Duration;

/// An append under way that keeps events behind it from being read. Most last for milliseconds; what is shown has
/// lasted for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHolder {
    /// The process of the server, by which an administrator can end it; `None` for a prepared transaction.
    pub process: Option<i32>,
    /// How long it has lasted, if the server says so to this user.
    pub held_for: Option<Duration>,
    /// What it does or waits for, and whose it is.
    pub doing: String,
}

impl LogHolder {
    /// A holder.
    pub fn new(process: Option<i32>, held_for: Option<Duration>, doing: impl Into<String>) -> Self {
        Self {
            process,
            held_for,
            doing: doing.into(),
        }
    }
}

impl fmt::Display for LogHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) => write!(f, "server process {process}")?,
            None => f.write_str("a prepared transaction")?,
        }
        if let Some(held_for) = self.held_for {
            write!(f, ", for {} s", held_for.as_secs())?;
        }
        write!(f, ": {}", self.doing)
    }
}
