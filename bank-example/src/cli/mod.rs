//! The command line: parse, run, print, exit code.

mod archive;
mod args;
mod commands;
mod demo;
mod failure;
mod output;
mod parked;
mod progress;
mod rebuild;
mod schema;
mod serve;
mod transfers;
mod verify;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use bank_example::stores;
use bank_example::system::EventSourcedBank;
use clap::Parser as _;
use eventsourcing_core::store::Position;
use eventsourcing_core::{Codec, OnFailure, Runner};
use tracing_subscriber::EnvFilter;

use args::{BankCommand, Cli, Command};
use failure::Failure;
use output::Output;

/// Runs the program and says how it ended.
pub(crate) fn main() -> ExitCode {
    log_to_stderr();
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) if !error.use_stderr() => Ok((error.render().to_string(), None)),
        Err(error) => Err(Failure::usage(&error)),
    };
    match outcome {
        Ok((text, None)) => print(&text),
        Ok((text, Some(failure))) => {
            print(&text);
            failure.report()
        }
        Err(failure) => failure.report(),
    }
}

/// Nothing unless `RUST_LOG` asks for it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// What is printed, and why it is a failure all the same.
#[tokio::main]
async fn run(Cli { store, json, codec, command }: Cli) -> Result<(String, Option<Failure>), Failure> {
    match command.unwrap_or(Command::OfBank(BankCommand::Demo)) {
        Command::Describe { mermaid } => Ok((commands::describe(mermaid).render(json), None)),
        Command::Schema { what } => {
            let mut output = schema::run(what)?;
            let failure = output.failure.take();
            Ok((output.render(json), failure))
        }
        Command::Export { file } => Ok((archive::export(&store, &file).await?.render(json), None)),
        Command::Import { file } => {
            let mut output = archive::import(&store, &file).await?;
            let failure = output.failure.take();
            Ok((output.render(json), failure))
        }
        Command::Serve(args) => Ok((serve::run(&store, codec.into(), args).await?, None)),
        Command::Watch { after } => {
            Ok((watch::run(stores::open(&store).await?.store(), after.map(Position::new), json).await?, None))
        }
        Command::OfBank(command) => {
            let mut output = ask(&store, codec.into(), command).await?;
            output.warning.iter().for_each(|warning| failure::say("warning", warning));
            let failure = output.failure.take();
            Ok((output.render(json), failure))
        }
    }
}

async fn ask(store: &str, codec: Codec, command: BankCommand) -> Result<Output, Failure> {
    let command = command.check()?;
    // It runs for a moment, and should not wait for the lease of a program that was killed.
    let runner = Runner::concurrent().without_leases();
    let builder = EventSourcedBank::builder(stores::open(store).await?).with_runner(runner).with_codec(codec);
    // An account that a follower cannot deal with is put aside; the others go on.
    let bank = builder.with_on_failure_default(OnFailure::Park).start().await?;
    let outcome = command.run(&bank).await;
    let stopped = bank.stop().await;
    outcome.map(|output| output.warn(stopped))
}

/// A reader that has seen enough, as in `bank-example log | head`, is not an error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Failure::Store(format!("the output cannot be written: {error}")).report()
        }
        _ => ExitCode::SUCCESS,
    }
}
