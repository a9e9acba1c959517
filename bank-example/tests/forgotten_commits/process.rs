//! A child process as its parent sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::mem::take;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use bank_example::domain::account::Account;
use eventsourcing::Id;
use eventsourcing::store::{CommandId, Position};
use uuid::Uuid;

use crate::{CHILD, TIMEOUT};

/// A child process and its messages.
pub(crate) struct Process {
    /// The arguments of the child: the store, its durability, and the accounts.
    given: String,
    child: Child,
    /// The child's input, closed when the child shall end.
    orders: Option<ChildStdin>,
    lines: Receiver<(Instant, String)>,
    pub(crate) told: Told,
}

/// The messages of the children so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Messages since the last check.
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) acknowledged_before: u64,
    pub(crate) last_acknowledged: Option<Instant>,
    pub(crate) waited: u64,
    pub(crate) waits_ended: u64,
    pub(crate) subscriptions_ended: u64,
    pub(crate) done: u64,
    /// Messages since the last start.
    pub(crate) state: State,
}

#[derive(Debug, Default)]
pub(crate) enum State {
    #[default]
    Starting,
    Open,
    /// The store was not opened, for this reason.
    Refused(String),
    /// The store can never be used again, for this reason.
    Lost(String),
    Ended,
}

#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) command: CommandId,
    pub(crate) position: Position,
    /// When the attempt began, in nanoseconds since 1970.
    pub(crate) began: u128,
}

impl Process {
    pub(crate) fn start(url: &str, durability: &str, accounts: &[Id<Account>]) -> Self {
        let ids: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        let given = format!("{url} {durability} {}", ids.join(" "));
        let (child, orders, lines) = spawn(&given);
        Self {
            given,
            child,
            orders: Some(orders),
            lines,
            told: Told::default(),
        }
    }

    /// Starts a child again that has ended or was killed.
    pub(crate) fn start_again(&mut self) {
        let (child, orders, lines) = spawn(&self.given);
        *self = Self {
            given: take(&mut self.given),
            child,
            orders: Some(orders),
            lines,
            told: take(&mut self.told),
        };
        self.told.state = State::Starting;
    }

    /// Ends the child gracefully.
    pub(crate) fn end(&mut self) {
        drop(self.orders.take());
        self.listen(|told| matches!(told.state, State::Ended | State::Refused(_)));
        self.child.wait().expect("a status");
    }

    /// Kills the child as `kill -9` does. Its earlier messages count.
    pub(crate) fn kill(&mut self) {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .expect("a status");
        while let Ok((at, line)) = self.lines.recv() {
            self.told.take_in(at, &line);
        }
    }

    pub(crate) fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("the child runs");
        writeln!(orders, "{order}").expect("the child listens");
    }

    /// Reads messages until `enough` returns `true`.
    pub(crate) fn listen(&mut self, enough: impl Fn(&Told) -> bool) {
        let begun = Instant::now();
        while !enough(&self.told) {
            let left = TIMEOUT.saturating_sub(begun.elapsed());
            assert!(
                !left.is_zero(),
                "a process talks, but does not say what is waited for: {:?}",
                self.told
            );
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

fn spawn(given: &str) -> (Child, ChildStdin, Receiver<(Instant, String)>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "teller::child_commands_follows_waits_and_subscribes",
            "--nocapture",
        ])
        .env(CHILD, given)
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
    (child, orders, lines)
}

impl Told {
    fn take_in(&mut self, at: Instant, line: &str) {
        match &*line.split(' ').collect::<Vec<_>>() {
            ["acknowledged", command, position, began] => {
                let command = CommandId::from_uuid(Uuid::parse_str(command).expect("an id"));
                let position = Position::new(position.parse().expect("a position"));
                let began = began.parse().expect("a time");
                self.acknowledged.push(Acknowledged {
                    command,
                    position,
                    began,
                });
                self.last_acknowledged = Some(at);
            }
            ["waited"] => self.waited += 1,
            ["wait", ..] => self.waits_ended += 1,
            ["subscription", "ended"] => self.subscriptions_ended += 1,
            ["done", ..] => self.done += 1,
            ["opened"] => self.state = State::Open,
            ["refused", why @ ..] => self.state = State::Refused(why.join(" ")),
            ["lost", why @ ..] => self.state = State::Lost(why.join(" ")),
            // The error of a stop on a lost store does not matter, only that the stop ends.
            ["ended", "Ok(Ok(()))"] => self.state = State::Ended,
            ["ended", how, ..] if how.starts_with("Ok") && matches!(self.state, State::Lost(_)) => {
                self.state = State::Ended;
            }
            _ => panic!("{line}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
