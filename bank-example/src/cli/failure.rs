//! Why a command failed: one line on stderr, and the exit code.

use std::error::Error;
use std::process::ExitCode;

use bank_example::domain::BankError;
use bank_example::stores::OpenError;
use eventsourcing_core::sql::SqlError;
use eventsourcing_core::store::StoreError;
use eventsourcing_core::{AppError, Rejected, SystemError};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The bank refused.
    Refused(String),
    /// The command makes no sense.
    Usage(String),
    /// The store cannot be opened or reached, or what is in it cannot be understood.
    Store(String),
}

impl Failure {
    /// What the argument parser found, in one line.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
        let line = lines.collect::<Vec<_>>().join(" ");
        Self::Usage(format!("{} (see --help)", line.trim_start_matches("error: ")))
    }

    /// Prints the failure and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (Self::Refused(message) | Self::Usage(message) | Self::Store(message)) = self;
        say("error", message);
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Store(_) => ExitCode::from(3),
        }
    }
}

/// One line on stderr, whatever `message` contains.
#[expect(clippy::print_stderr, reason = "this is where errors are shown")]
pub(crate) fn say(kind: &str, message: &str) {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    eprintln!("{kind}: {line}");
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unknown { .. } => Self::Usage(error.to_string()),
            OpenError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } | StoreError::TrackingConflict { .. } => Self::Refused(one_line(&error)),
            _ => Self::Store(one_line(&error)),
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Store(one_line(&error))
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(error) => error.into(),
            error => Self::Refused(one_line(&error)),
        }
    }
}

impl From<Rejected<BankError>> for Failure {
    fn from(rejected: Rejected<BankError>) -> Self {
        match rejected {
            Rejected::Domain(refusal) => Self::Refused(refusal.to_string()),
            Rejected::App(error) => error.into(),
        }
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::FollowerStopped(stopped) => Self::Store(stopped.to_string()),
            error => Self::Store(one_line(&error)),
        }
    }
}

/// An error and its sources.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line
}
