//! [`Worker`]: a process with one contestant, controlled by the referee.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use contest::worker::{Answer, Order};
use contest::{Measured, Outcome, Workload};

use crate::contestants::{Entrant, Kind};

/// A process with one contestant. The process ends when this is dropped.
pub struct Worker {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a process with `entrant` in `place`.
    ///
    /// # Errors
    /// The program does not start, or the contestant cannot open its place.
    pub fn start(entrant: Entrant, place: &str) -> Outcome<Self> {
        let mut command = match entrant.kind {
            Kind::Peer => Command::new(peers_program()),
            _ => Command::new(std::env::current_exe()?),
        };
        if entrant.kind != Kind::Peer {
            command.arg("worker");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let answers =
            BufReader::new(process.stdout.take().ok_or("a worker without output")?).lines();
        let mut worker = Self {
            process,
            orders,
            answers,
        };
        worker.send(&Order::Enter {
            contestant: entrant.name.to_owned(),
            place: place.to_owned(),
        })?;
        match worker.answer()? {
            Answer::Entered => Ok(worker),
            Answer::Failed(reason) => Err(reason.into()),
            Answer::Ran(_) => Err("the worker answers something else".into()),
        }
    }

    /// Runs a task of the contestant, and waits for its end.
    ///
    /// # Errors
    /// The task fails.
    pub fn run(&mut self, workload: &Workload) -> Outcome<Option<Measured>> {
        self.begin(workload)?;
        self.end()
    }

    /// Starts a task of the contestant.
    ///
    /// # Errors
    /// The process has ended.
    pub fn begin(&mut self, workload: &Workload) -> Outcome<()> {
        self.send(&Order::Run(workload.clone()))
    }

    /// Waits for the end of the started task.
    ///
    /// # Errors
    /// The task fails.
    pub fn end(&mut self) -> Outcome<Option<Measured>> {
        match self.answer()? {
            Answer::Ran(measured) => Ok(measured),
            Answer::Failed(reason) => Err(reason.into()),
            Answer::Entered => Err("the worker answers something else".into()),
        }
    }

    fn send(&mut self, order: &Order) -> Outcome<()> {
        let orders = self.orders.as_mut().ok_or("the worker has ended")?;
        serde_json::to_writer(&mut *orders, order)?;
        orders.write_all(b"\n")?;
        Ok(orders.flush()?)
    }

    fn answer(&mut self) -> Outcome<Answer> {
        let line = self
            .answers
            .next()
            .ok_or("the worker has ended; see above why")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ended = self.process.wait();
    }
}

/// Builds the program of the peers, which links another SQLite.
///
/// # Errors
/// The program cannot be built.
pub fn build_peers() -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = peers_folder().join("Cargo.toml");
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .status()?;
    built
        .success()
        .then_some(())
        .ok_or_else(|| "the program of the peers does not build".into())
}

fn peers_program() -> PathBuf {
    peers_folder().join("target/release/peers")
}

fn peers_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers")
}
