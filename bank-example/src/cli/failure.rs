//! The failure of a command: one line on standard error, and the exit code.
//!
//! The exit codes are a promise to scripts; `--help` and docs/serving.md list them.

use std::error::Error;
use std::process::ExitCode;

use bank_example::domain::BankError;
use bank_example::stores::OpenError;
use clap::error::{ContextKind, ErrorKind};
use eventsourcing::sql::SqlError;
use eventsourcing::store::StoreError;
use eventsourcing::{ApplicationError, CommandError, SystemError};

use super::console;
use super::stop::Signal;

/// The failure of a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The bank rejected the command.
    Refused(String),
    /// The command line is wrong.
    Usage(String),
    /// The store cannot be opened or reached, or its contents cannot be read.
    Store(String),
    /// The answer could not be written. A command that changes something was carried out.
    Unanswered(String),
    /// A signal has ended the command. The text says what was done, or is empty.
    Interrupted(Signal, String),
}

impl Failure {
    /// The error of the argument parser, in one line.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let line = without_addresses(&invalid_value(error).unwrap_or_else(|| first_lines(error)));
        Self::Usage(format!("{line} (see --help)"))
    }

    /// The answer could not be written to standard output.
    pub(crate) fn unwritten(error: &std::io::Error) -> Self {
        Self::Unanswered(format!("the answer could not be written: {error}"))
    }

    /// The command was carried out, and its answer could not be written to standard output.
    pub(crate) fn unwritten_though_done(error: &std::io::Error) -> Self {
        Self::Unanswered(format!(
            "done, but the answer could not be written: {error}"
        ))
    }

    /// The command was carried out, but its answer is incomplete: `what` names the missing part, `self` the reason.
    pub(crate) fn after_it_was_done(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Interrupted(signal, _) => Self::Interrupted(signal, format!("done, but {what}")),
            Self::Refused(why) | Self::Usage(why) | Self::Store(why) | Self::Unanswered(why) => {
                Self::Unanswered(format!("done, but {what}: {why}"))
            }
        }
    }

    /// Prints the failure and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Refused(message)
            | Self::Usage(message)
            | Self::Store(message)
            | Self::Unanswered(message) => {
                console::say("error", message);
            }
            Self::Interrupted(signal, message) if message.is_empty() => {
                console::say("error", &format!("interrupted by {}", signal.name()));
            }
            Self::Interrupted(signal, message) => {
                console::say(
                    "error",
                    &format!("interrupted by {}: {message}", signal.name()),
                );
            }
        }
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Store(_) => ExitCode::from(3),
            Self::Unanswered(_) => ExitCode::from(4),
            Self::Interrupted(signal, _) => (*signal).into(),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error @ StoreError::NoStore { .. }) => {
                let commands = "open, the demo, import and serve create one";
                Self::Store(format!(
                    "{}; {commands}, or correct the address (--store, BANK_STORE)",
                    one_line(&error)
                ))
            }
            OpenError::Store(error) => error.into(),
            error => Self::Usage(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } | StoreError::TrackingConflict { .. } => {
                Self::Refused(one_line(&error))
            }
            _ => Self::Store(one_line(&error)),
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Store(one_line(&error))
    }
}

impl From<ApplicationError> for Failure {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::Store(error) => error.into(),
            error => Self::Refused(one_line(&error)),
        }
    }
}

impl From<CommandError<BankError>> for Failure {
    fn from(rejected: CommandError<BankError>) -> Self {
        match rejected {
            CommandError::Rejected(refusal) => Self::Refused(refusal.to_string()),
            CommandError::Application(error) => error.into(),
        }
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::FollowerStopped(stopped) => Self::Store(stopped.to_string()),
            error @ (SystemError::UnknownFollower { .. }
            | SystemError::NotARebuildableReadModel { .. }) => Self::Usage(error.to_string()),
            error => Self::Store(one_line(&error)),
        }
    }
}

/// Joins an error and its sources in one line.
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

/// Describes a value that a value parser refused. The parser's own text quotes the whole value, however long it is; the
/// error in the source quotes its beginning.
fn invalid_value(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let argument = error.get(ContextKind::InvalidArg)?;
    let source = error.source()?;
    Some(format!("invalid value for {argument}: {source}"))
}

fn first_lines(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

/// Removes addresses from an error of the parser, which quotes the word it does not understand. An address in the wrong
/// place may contain a password anywhere, so only its scheme is left.
fn without_addresses(line: &str) -> String {
    let Some((before, rest)) = line.split_once("://") else {
        return line.to_owned();
    };
    let end = rest.rfind('\'').unwrap_or(rest.len());
    format!("{before}://…{}", &rest[end..])
}
