//! A child process as its parent sees it, and what it has said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use bank_example::domain::account::Account;
use eventsourcing_core::Id;
use eventsourcing_core::store::{CommandId, Position};
use uuid::Uuid;

use crate::{CHILD, PATIENCE};

/// A child process and what it says.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<(Instant, String)>,
    pub(crate) told: Told,
}

/// What the children have said so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Since the last accident.
    pub(crate) acknowledged: Vec<(CommandId, Position)>,
    pub(crate) acknowledged_before: u64,
    pub(crate) last_acknowledged: Option<Instant>,
    pub(crate) waited: u64,
    pub(crate) waits_ended: u64,
    pub(crate) subscriptions_ended: u64,
    pub(crate) done: u64,
}

impl Process {
    pub(crate) fn start(url: &str, durability: &str, accounts: &[Id<Account>]) -> Self {
        let ids: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "teller::child_commands_follows_waits_and_subscribes", "--nocapture"])
            .env(CHILD, format!("{url} {durability} {}", ids.join(" ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let orders = child.stdin.take().expect("a pipe");
        let (heard, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            for line in lines.filter_map(|line| line.strip_prefix("teller ").map(str::to_owned)) {
                let _ = heard.send((Instant::now(), line));
            }
        });
        Self { child, orders, lines, told: Told::default() }
    }

    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the child listens");
    }

    /// Listens until `enough` has been said.
    pub(crate) fn listen(&mut self, enough: impl Fn(&Told) -> bool) {
        let begun = Instant::now();
        while !enough(&self.told) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let (at, line) = self.lines.recv_timeout(left).unwrap_or_else(|error| {
                panic!(
                    "a process says nothing ({error}); it has ended: {:?}; {:?}",
                    self.child.try_wait(),
                    self.told.done
                )
            });
            self.told.take_in(at, &line);
        }
        while let Ok((at, line)) = self.lines.try_recv() {
            self.told.take_in(at, &line);
        }
    }
}

impl Told {
    fn take_in(&mut self, at: Instant, line: &str) {
        match &*line.split(' ').collect::<Vec<_>>() {
            ["acknowledged", command, position] => {
                let command = CommandId::from_uuid(Uuid::parse_str(command).expect("an id"));
                self.acknowledged.push((command, Position::new(position.parse().expect("a position"))));
                self.last_acknowledged = Some(at);
            }
            ["waited"] => self.waited += 1,
            ["wait", ..] => self.waits_ended += 1,
            ["subscription", "ended"] => self.subscriptions_ended += 1,
            ["done", ..] => self.done += 1,
            _ => panic!("{line}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
