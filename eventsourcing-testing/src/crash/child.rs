//! The child process: a test of the same program, which is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Acknowledgement;

/// The longest time that a child takes to start and to write for the first time.
const START_MAX: Duration = Duration::from_secs(60);

/// Returns a command that runs one test of this program, and shows its output.
///
/// # Panics
/// The path of this program is not known.
#[must_use]
pub fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", name, "--nocapture"]);
    command
}

/// The moment at which a child is killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// So long after its start.
    AfterStart(Duration),
    /// So long after its first acknowledged append.
    AfterWrite(Duration),
}

impl Kill {
    /// Draws a moment. Most children have written before it.
    #[must_use]
    pub fn at_random(random: &mut fastrand::Rng, life_max: Duration) -> Self {
        let life = life_max.mul_f64(random.f64());
        match random.u8(..) > 32 {
            true => Self::AfterWrite(life),
            false => Self::AfterStart(life),
        }
    }
}

/// Runs a child that [writes until it is killed](super::write_until_killed), kills it, and returns its acknowledgements up to
/// that moment. Blocks the thread.
///
/// # Panics
/// The child does not start, does not write within a minute, or ends by itself.
pub fn run_and_kill(child: &mut Command, kill: Kill) -> Vec<Acknowledgement> {
    let mut child = child.stdout(Stdio::piped()).spawn().expect("a child");
    let lines = listen(child.stdout.take().expect("its standard output"));
    let (first, life) = match kill {
        Kill::AfterStart(life) => (None, life),
        Kill::AfterWrite(life) => {
            let first = lines.recv_timeout(START_MAX).ok();
            if first.is_none() {
                kill_9(child);
                panic!("the child has not written within {START_MAX:?}");
            }
            (first, life)
        }
    };
    thread::sleep(life);
    kill_9(child);
    first.into_iter().chain(lines).collect()
}

fn kill_9(mut child: Child) {
    child.kill().expect("kill -9");
    let status = child.wait().expect("a status");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the child has ended by itself"
    );
    assert!(!status.success(), "the child has ended by itself");
}

/// Receives the acknowledgements until the end of the output. An incomplete last line does not count.
fn listen(output: ChildStdout) -> mpsc::Receiver<Acknowledgement> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if line.ends_with('\n')
                && let Some(acknowledgement) = Acknowledgement::parse(&line)
            {
                let _ = said.send(acknowledgement);
            }
            line.clear();
        }
    });
    heard
}
