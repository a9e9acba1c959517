//! Compares the framework with its peers and with the limit of the database. The README explains the workloads and the results.

mod busy;
mod by_hand;
mod chart;
mod contestants;
mod guard;
mod ours;
mod places;
mod referee;
mod report;
mod results;
#[path = "../../eventsourcing-postgres/tests/support/server.rs"]
#[allow(dead_code, reason = "the tests of the store need more of it")]
mod server;
mod targets;
mod trials;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use contest::Outcome;

use contestants::Kind;
use places::Places;
use results::Results;
use trials::{LETTERS, Pace};

/// Compares the framework with its peers, with code written by hand, and with the limit of the database.
#[derive(Parser)]
#[command(name = "benchmarks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all workloads; takes about an hour
    All(Settings),
    /// Runs some workloads, and keeps the results of the others
    Run {
        /// The letters of the workloads; `list` shows them
        #[arg(required = true)]
        letters: Vec<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Lists the workloads
    List,
    /// Writes the table and the chart again from the stored results
    Report,
    /// Gives 512 commands at once on one busy account; fails if one is given up, or pairs take too long beside single accounts
    Busy,
    /// Compares the framework with code written by hand, in a minute; fails if a ratio is a third below the committed one
    Guard {
        /// Writes the ratios to commit, instead of comparing them
        #[arg(long)]
        write: bool,
    },
    /// Runs the tasks from its standard input; the other commands start it
    #[command(hide = true)]
    Worker,
}

#[derive(Args)]
struct Settings {
    /// Number of turns of each contestant, after one to warm up
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of a turn
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only contestants whose name contains this
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::All(settings) => {
            let letters: Vec<_> = LETTERS
                .iter()
                .map(|(letter, _)| (*letter).to_owned())
                .collect();
            run(&letters, &settings)
        }
        Command::Run { letters, settings } => run(&letters, &settings),
        Command::List => {
            list();
            Ok(())
        }
        Command::Report => {
            Results::read(&folder().join("results.json")).and_then(|results| write(&results))
        }
        Command::Busy => Places::open().and_then(|places| busy::run(&places)),
        Command::Guard { write } => guard::run(write),
        Command::Worker => contest::worker::work(contestants::enter),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmarks: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(letters: &[String], settings: &Settings) -> Outcome<()> {
    let pace = Pace {
        rounds: settings.rounds,
        seconds: settings.seconds,
    };
    let trials: Outcome<Vec<_>> = letters
        .iter()
        .map(|letter| {
            trials::trial(letter, pace)
                .ok_or_else(|| format!("there is no workload {letter}; see list").into())
        })
        .collect();
    let mut trials = trials?;
    if let Some(only) = &settings.only {
        trials
            .iter_mut()
            .for_each(|trial| trial.lanes.retain(|lane| lane.label.contains(only)));
    }
    if trials
        .iter()
        .flat_map(|trial| &trial.lanes)
        .any(|lane| lane.entrant.kind == Kind::Peer)
    {
        worker::build_peers()?;
    }
    let places = Places::open()?;
    places.wear_in()?;
    let mut results = Results::read(&folder().join("results.json"))?;
    for trial in &trials {
        println!("{}. {}", trial.letter, trial.title);
        let run = referee::run(trial, pace, &places)?;
        for lane in &run.lanes {
            match (&lane.out, lane.median()) {
                (Some(reason), _) => println!("  {:28} out: {reason}", lane.label),
                (None, median) => {
                    println!(
                        "  {:28} {:>12}",
                        lane.label,
                        median.map(report::number).unwrap_or_default()
                    )
                }
            }
        }
        results.put(run);
        write(&results)?;
    }
    println!("\n{}", report::targets(&results));
    Ok(())
}

fn list() {
    for (letter, title) in LETTERS {
        println!("{letter:3} {title}");
    }
}

fn write(results: &Results) -> Outcome<()> {
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    results.write(&folder.join("results.json"))?;
    std::fs::write(folder.join("README.md"), report::page(results))?;
    std::fs::write(folder.join("chart.svg"), chart::draw(results)?)?;
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}
