//! Shows the schema of events, and checks that events stored by earlier releases stay readable.

use std::path::PathBuf;

use bank_example::system::EventSourcedBank;
use clap::Subcommand;
use eventsourcing::schema::{
    Breakage, Comparison, LockError, LockedEvent, SchemaLock, SystemSchema,
};
use serde_json::{Value, json};

use super::failure::{Failure, one_line};
use super::output::{Output, table};

/// A command about the schema of events.
#[derive(Subcommand)]
pub(crate) enum SchemaCommand {
    /// Compare the events of this program with the lock, and read all samples in it; exit code 1 if something differs
    ///
    /// The lock is a file in version control. It says what every version of every event looks like that was ever released,
    /// with samples. A change that would make stored events unreadable is named, with what to do about it and an upcaster to
    /// paste. One that would not is to be recorded with `schema update`.
    Check(LockFile),
    /// Record new versions and samples in the lock; changes nothing if a change would break stored events
    ///
    /// Review the file before you commit it. Nothing is ever removed from it, unless a version was never released.
    Update(LockFile),
    /// Print the schema of the events, as JSON Schema
    Print {
        /// Print an AsyncAPI document: who sends which events, and who receives them
        #[arg(long)]
        asyncapi: bool,
    },
}

impl SchemaCommand {
    /// Returns `true` if the command changes a file.
    pub(crate) fn changes(&self) -> bool {
        matches!(self, Self::Update(_))
    }
}

#[derive(clap::Args)]
pub(crate) struct LockFile {
    /// The file of the lock; the bank's own lock if not given
    #[arg(long = "lock", value_name = "PATH", default_value = COMMITTED, hide_default_value = true)]
    path: PathBuf,
}

/// The lock in the folder in which this program was built.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events.lock.json");

pub(super) fn run(command: SchemaCommand) -> Result<Output, Failure> {
    let schema = SystemSchema::of::<EventSourcedBank>();
    match command {
        SchemaCommand::Check(LockFile { path }) => {
            let lock = SchemaLock::read(path)?;
            Ok(check(&schema.compare(&lock)?, &lock))
        }
        SchemaCommand::Update(LockFile { path }) => update(&schema, path),
        SchemaCommand::Print { asyncapi: false } => Ok(document(&schema.to_json_schema())),
        SchemaCommand::Print { asyncapi: true } => {
            Ok(document(&schema.to_asyncapi(env!("CARGO_PKG_VERSION"))))
        }
    }
}

fn check(comparison: &Comparison, lock: &SchemaLock) -> Output {
    let rows = lock.events().map(|event| {
        let version = event.version.to_string();
        vec![
            event.aggregate.clone(),
            event.event.clone(),
            version,
            event.samples.len().to_string(),
            outcome(comparison, event),
        ]
    });
    let mut text = table(
        &["aggregate", "event", "version", "samples", "outcome"],
        &[2, 3],
        rows,
    );
    if !comparison.is_locked() {
        text = format!("{text}\n\n{comparison}");
    }
    let failure = match (comparison.breakages.len(), comparison.unrecorded.len()) {
        (0, 0) => None,
        (0, new) => Some(format!(
            "the lock does not know {new} of the changes; record them: bank-example schema update"
        )),
        (broken, _) => Some(format!(
            "{broken} of the changes would break events that are stored"
        )),
    };
    let json = json!({
        "locked": comparison.is_locked(),
        "versions": comparison.versions,
        "samples": comparison.samples,
        "breakages": comparison.breakages.iter().map(breakage_json).collect::<Vec<_>>(),
        "unrecorded": comparison.unrecorded,
    });
    Output::new(text, json).fail(failure.map(Failure::Refused))
}

fn outcome(comparison: &Comparison, event: &LockedEvent) -> String {
    let is_meant = |breakage: &&Breakage| {
        let same = breakage.event == event.event && breakage.version == event.version;
        breakage.aggregate == event.aggregate && (same || breakage.version == 0)
    };
    match comparison.breakages.iter().find(is_meant) {
        Some(_) => "would break, see below".into(),
        None => "read as it was stored".into(),
    }
}

fn breakage_json(breakage: &Breakage) -> Value {
    json!({
        "aggregate": breakage.aggregate,
        "event": breakage.event,
        "version": breakage.version,
        "changes": breakage.changes,
        "remedies": breakage.remedies,
        "stub": breakage.stub,
    })
}

fn update(schema: &SystemSchema, path: PathBuf) -> Result<Output, Failure> {
    match schema.update_file(&path) {
        Ok(recorded) => {
            let text = match &*recorded {
                [] => "nothing is new".into(),
                recorded => format!(
                    "recorded in {}:\n  {}",
                    path.display(),
                    recorded.join("\n  ")
                ),
            };
            Ok(Output::new(text, json!({ "recorded": recorded })))
        }
        Err(LockError::Broken(text)) => {
            let failure = Failure::Refused(
                "nothing was recorded: a change would break events that are stored".into(),
            );
            Ok(
                Output::new(text.clone(), json!({ "recorded": [], "text": text }))
                    .fail(Some(failure)),
            )
        }
        Err(error) => Err(error.into()),
    }
}

/// A document, printed the same as text and as JSON.
fn document(document: &Value) -> Output {
    Output::new(format!("{document:#}"), document.clone())
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Sample(_) | LockError::Broken(_) => Self::Refused(one_line(&error)),
            error => Self::Usage(one_line(&error)),
        }
    }
}
