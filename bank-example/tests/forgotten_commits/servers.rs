//! Accidents of servers: fail-over, crash, restore.

use std::time::{Duration, Instant};

use eventsourcing::testing::Seed;

use crate::checks::{Outcome, accounts_opened, check};
use crate::process::Process;
use crate::support::server::{self, DURABLE, Server};
use crate::{ONE_AT_A_TIME, PROCESSES, now, rounds};

/// The ways in which a server loses commits, or does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Accident {
    /// The standby was away when the primary died.
    AsynchronousStandby,
    /// Each commit waited for the standby.
    SynchronousStandby,
    /// The server crashes, and commits do not wait for the disk.
    CrashUnflushed,
    /// The server is stopped and goes on from an earlier backup.
    Restore,
}

/// The server, and a standby where there is one.
struct Servers {
    primary: Server,
    standby: Option<Server>,
}

impl Accident {
    fn settings(self) -> Vec<&'static str> {
        let unflushed = ["wal_writer_delay = 10s", "wal_writer_flush_after = 1GB"];
        let more = if self == Self::CrashUnflushed {
            &unflushed[..]
        } else {
            &[]
        };
        [DURABLE, more].concat()
    }

    fn has_standby(self) -> bool {
        matches!(self, Self::AsynchronousStandby | Self::SynchronousStandby)
    }
}

impl Servers {
    fn start(accident: Accident) -> Self {
        let primary = Server::start(&accident.settings());
        server::execute(&primary.url("postgres"), "CREATE DATABASE bank");
        let standby = accident.has_standby().then(|| primary.standby(None));
        Self { primary, standby }
    }

    /// Names both servers; the client finds the one that accepts writes.
    fn url(&self) -> String {
        match &self.standby {
            None => self.primary.url("bank"),
            Some(standby) => format!(
                "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/bank?target_session_attrs=read-write",
                self.primary.port(),
                standby.port()
            ),
        }
    }

    /// Prepares the accident while commands are sent.
    fn prepare(&self, accident: Accident) {
        match accident {
            Accident::SynchronousStandby => self.wait_for_each_commit("*"),
            Accident::Restore => self.primary.back_up(),
            Accident::AsynchronousStandby | Accident::CrashUnflushed => {}
        }
    }

    fn wait_for_each_commit(&self, standbys: &str) {
        let primary = self.primary.url("postgres");
        server::execute(
            &primary,
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"),
        );
        server::execute(&primary, "SELECT pg_reload_conf()");
    }

    /// Carries out the accident. Returns when the server accepts writes again.
    async fn suffer(&mut self, accident: Accident, random: &mut fastrand::Rng) {
        let a_while = Duration::from_millis(random.u64(50..400));
        match accident {
            Accident::AsynchronousStandby => {
                let standby = self.standby.take().expect("a standby");
                standby.stop();
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                standby.start_again();
                self.fail_over_to(standby);
            }
            Accident::SynchronousStandby => {
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                let standby = self.standby.take().expect("a standby");
                self.fail_over_to(standby);
            }
            Accident::CrashUnflushed => {
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                self.primary.start_again();
            }
            Accident::Restore => {
                tokio::time::sleep(a_while).await;
                self.primary.restore();
            }
        }
    }

    fn fail_over_to(&mut self, standby: Server) {
        standby.promote();
        self.primary = standby;
    }

    /// A new standby takes the place of the primary that is gone.
    fn replace_standby(&mut self, port: Option<u16>) {
        self.standby = port.map(|port| self.primary.standby(Some(port)));
    }
}

async fn storm(accident: Accident) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut random = Seed::from_env().rng(accident as u64);
    let mut servers = Servers::start(accident);
    let url = servers.url();
    let durability = if accident == Accident::CrashUnflushed {
        "normal"
    } else {
        "full"
    };

    let accounts = accounts_opened(&url).await;
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start(&url, durability, &accounts))
        .collect();
    let mut outcome = Outcome {
        forgotten: 0,
        slowest: Duration::ZERO,
    };
    for round in 0..rounds() {
        processes
            .iter_mut()
            .for_each(|process| process.listen(|told| told.last_acknowledged.is_some()));
        servers.prepare(accident);
        let port = servers.standby.as_ref().map(|_| servers.primary.port());
        servers.suffer(accident, &mut random).await;
        let happened = now();
        outcome.wait_for_service(&mut processes, Instant::now());
        servers.replace_standby(port);
        outcome.forgotten += check(
            &url,
            &mut processes,
            happened,
            &format!("{accident:?} {round}"),
        )
        .await;
    }
    outcome.report(&format!("{accident:?}"), &processes);
    match accident {
        Accident::SynchronousStandby => {
            assert_eq!(outcome.forgotten, 0, "acknowledged commits are lost");
        }
        _ => assert!(
            outcome.forgotten > 0,
            "the server forgot nothing, so the storm has shown nothing"
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_that_lags_behind_takes_over() {
    storm(Accident::AsynchronousStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_standby_takes_over_and_nothing_is_lost() {
    storm(Accident::SynchronousStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_crashes_and_forgets_what_was_not_flushed() {
    storm(Accident::CrashUnflushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_backup_is_restored() {
    storm(Accident::Restore).await;
}
