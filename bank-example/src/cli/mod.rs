//! The command line: parse, run, print, exit code.

mod archive;
mod args;
mod backup;
mod commands;
mod console;
mod demo;
mod describe;
mod failure;
mod keyed;
mod output;
mod parked;
mod progress;
mod rebuild;
mod restored;
mod schema;
mod serve;
mod settings;
mod stop;
mod transfers;
mod verify;
mod watch;

use std::future::Future;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bank_example::stores;
use bank_example::system::EventSourcedBank;
use clap::Parser as _;
use eventsourcing::schema::WithLock as _;
use eventsourcing::{Codec, OnFailure, Runner, RunningSystem, Stores, SystemError};

use args::{BankCommand, Cli, Command};
use failure::Failure;
use output::Output;
use stop::Stop;

/// The time that the followers get to stop at the end of a command.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(3);
/// The time that reads still in progress get at the end of the program.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(2);

/// Runs the program and returns its exit code.
pub(crate) fn main() -> ExitCode {
    console::log_to_stderr();
    let outcome = match Cli::try_parse() {
        Ok(cli) => carry_out(cli),
        Err(error) if !error.use_stderr() => Ok(Answer::shown(error.render().to_string())),
        Err(error) => Err(Failure::usage(&error)),
    };
    match outcome {
        Ok(answer) => answer.give(),
        Err(failure) => failure.report(),
    }
}

fn carry_out(cli: Cli) -> Result<Answer, Failure> {
    let stop = Stop::listen()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::Store(format!(
            "the threads of the runtime cannot be started: {error}"
        ))
    })?;
    let outcome = runtime.block_on(run(cli, &stop));
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    // Only writing the answer is left, which may take as long as its reader does.
    let has_changed = outcome.as_ref().is_ok_and(|answer| answer.has_changed);
    stop.must_end_within(
        Duration::ZERO,
        if has_changed {
            "done, but the answer was not read"
        } else {
            ""
        },
    );
    outcome
}

/// The answer of a command: the text for standard output, and the failure that it shows, if any.
struct Answer {
    text: String,
    failure: Option<Failure>,
    /// The command has changed something, so an answer that cannot be written must not invite a second attempt.
    has_changed: bool,
}

impl Answer {
    fn shown(text: String) -> Self {
        Self {
            text,
            failure: None,
            has_changed: false,
        }
    }

    fn of(mut output: Output, json: bool, has_changed: bool) -> Self {
        output
            .warning
            .iter()
            .for_each(|warning| console::say("warning", warning));
        let failure = output.failure.take();
        Self {
            text: output.render(json),
            failure,
            has_changed,
        }
    }

    fn give(self) -> ExitCode {
        let unwritten = match console::answer(&self.text) {
            Ok(()) => None,
            Err(error) if self.has_changed => Some(Failure::unwritten_though_done(&error)),
            // A reader that closes the pipe early, as in `bank-example log | head`, is not an error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => None,
            Err(error) => Some(Failure::unwritten(&error)),
        };
        let mut code = ExitCode::SUCCESS;
        for failure in [unwritten, self.failure].iter().flatten() {
            code = failure.report();
        }
        code
    }
}

async fn run(
    Cli {
        place,
        json,
        codec,
        command,
    }: Cli,
    stop: &Stop,
) -> Result<Answer, Failure> {
    match command.unwrap_or(Command::Bank(BankCommand::Demo)) {
        Command::Describe { mermaid } => Ok(Answer::of(
            describe::run(&place, mermaid, stop).await?,
            json,
            false,
        )),
        Command::Schema { what } => {
            let changes = what.changes();
            Ok(Answer::of(schema::run(what)?, json, changes))
        }
        Command::Backup { file } => Ok(Answer::of(
            backup::run(&place.url()?, &file, stop).await?,
            json,
            true,
        )),
        Command::Export { file } => Ok(Answer::of(
            archive::export(&place.url()?, &file, stop).await?,
            json,
            true,
        )),
        Command::Import { file } => Ok(Answer::of(
            archive::import(&place.url()?, &file, stop).await?,
            json,
            true,
        )),
        Command::Serve(args) => {
            serve::run(&place.url()?, codec.into(), args, stop).await?;
            Ok(Answer::shown(String::new()))
        }
        Command::Watch { after } => {
            let store = opened(stop, stores::open_existing(&place.url()?))
                .await?
                .store();
            watch::run(store, after, json, stop).await?;
            Ok(Answer::shown(String::new()))
        }
        Command::Bank(command) => {
            command.validate()?;
            let records = command.records();
            let output = ask(&place.url()?, codec.into(), command, stop).await?;
            Ok(Answer::of(output, json, records))
        }
    }
}

async fn ask(
    url: &str,
    codec: Codec,
    command: BankCommand,
    stop: &Stop,
) -> Result<Output, Failure> {
    let stores = match command.creates() {
        true => opened(stop, stores::open(url)).await?,
        false => opened(stop, stores::open_existing(url)).await?,
    };
    // The command runs for a moment only, so it does not wait for the lease of a program that was killed.
    let runner = Runner::concurrent().without_leases();
    let builder = EventSourcedBank::builder(stores).with_lock(EventSourcedBank::LOCK);
    let builder = builder.with_runner(runner).with_codec(codec);
    // An account whose event a follower cannot process is parked (a dead letter), and the other accounts go on.
    let bank = stop
        .or(
            builder.with_on_failure_default(OnFailure::Park).start(),
            NOTHING_DONE,
        )
        .await??;
    let bank = Arc::new(bank);
    let unknown = match command.key() {
        Some(_) => "the outcome of the command is unknown; repeating it with its key is safe",
        None => "the outcome of the command is unknown; check before you repeat it",
    };
    let outcome = match command.records() {
        true => stop.or_late(command.run(&bank, stop), unknown).await,
        false => stop.or(command.run(&bank, stop), "").await,
    };
    let stopped = match Arc::into_inner(bank) {
        Some(bank) => stopped(bank).await,
        // An interrupted request still holds the bank, whose followers then end with the process.
        None => Ok(()),
    };
    outcome.flatten().map(|output| output.warn(stopped))
}

const NOTHING_DONE: &str = "nothing was done";

/// Opens a store, unless a signal asks the program to end.
async fn opened(
    stop: &Stop,
    opening: impl Future<Output = Result<Stores, stores::OpenError>>,
) -> Result<Stores, Failure> {
    Ok(stop.or(opening, NOTHING_DONE).await??)
}

/// Stops the followers of a bank.
async fn stopped(bank: RunningSystem<EventSourcedBank>) -> Result<(), SystemError> {
    let late = |_| {
        Err(SystemError::Invalid {
            reason: "the followers did not stop in time".to_owned(),
        })
    };
    tokio::time::timeout(STOPPING_TIME_MAX, bank.stop())
        .await
        .unwrap_or_else(late)
}
