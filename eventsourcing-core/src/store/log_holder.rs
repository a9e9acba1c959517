//! [`LogHolder`]: an append that holds the log back, for people who want to know why no events
//! arrive.

use std::fmt;
use std::time::Duration;

/// A running append that prevents the events after it from being read. Most last for milliseconds;
/// only those that have lasted for long are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHolder {
    /// The process of the server, by which an administrator can end it; `None` for a prepared
    /// transaction.
    pub process: Option<i32>,
    /// The time it has lasted, if the server shows it to this user.
    pub held_for: Option<Duration>,
    /// The activity or wait of the append, and its user.
    pub doing: String,
}

impl LogHolder {
    /// Returns a holder with these values.
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
