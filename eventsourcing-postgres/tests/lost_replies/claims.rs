//! Each claim that nothing was written is checked against the log, and is never false, wherever in the protocol the
//! network fails. Promise P28.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, LogId, Position, StoreError, Tracking,
};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Id, RetryPolicy, event as events,
};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_testing::Seed;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::proxy::{Fault, Proxy};
use crate::support::server::{FORGETFUL, Server};
use crate::support::{connect, event, log_of, report, stream};

/// The variable with the number of commands: a few hundred by default, 10,000 before a release.
const COMMANDS_VARIABLE: &str = "EVENTSOURCING_CLAIMED_COMMANDS";
const COMMANDS_DEFAULT: usize = 400;
const LANES: u64 = 4;
const TIMEOUT: Duration = Duration::from_millis(200);
/// The duration of an attempt that the server does not answer: the store waits two seconds longer than the server's
/// limit.
const SILENCE: Duration = Duration::from_millis(2_500);
const CALL_MAX: Duration = Duration::from_secs(60);
/// The number of requests after which a fault may strike: enough for a new connection, its settings, its prepared
/// statements, and an append.
const REQUESTS_MAX: usize = 7;

#[derive(Aggregate, Debug, Serialize, Deserialize)]
struct Diary {
    lines: u64,
}

#[events]
impl Diary {
    fn begun(text: String) -> Self {
        let _ = text;
        Self { lines: 1 }
    }
    fn continued(&mut self, text: String) {
        let _ = text;
        self.lines += 1;
    }
}

/// The store's claim about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    Written,
    NothingWritten,
    NotKnown,
}

/// One client of the store, behind a network of its own.
struct Lane {
    random: fastrand::Rng,
    proxy: Proxy,
    store: Arc<PostgresStore>,
    app: Application,
    diary: Id<Diary>,
    follower: String,
}

impl Lane {
    async fn open(number: u64, seed: Seed, server: &Server) -> Self {
        let proxy = Proxy::before(server.port()).await;
        let options = PostgresOptions::new()
            .with_connect_timeout(TIMEOUT * 4)
            .with_statement_timeout(TIMEOUT);
        let store = options
            .connect(&proxy.url("postgres", "postgres"))
            .await
            .expect("a store");
        let store = Arc::new(store);
        let retry = RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(4));
        let app = Application::new("diaries", Arc::clone(&store)).with_retry(retry);
        let begun = app
            .create(|| DiaryEvent::Begun {
                text: format!("lane {number}"),
            })
            .await;
        let diary = begun.expect("nothing fails yet").id;
        let follower = format!("lane {number}");
        Self {
            random: seed.rng(number),
            proxy,
            store,
            app,
            diary,
            follower,
        }
    }

    /// Tries to carry out this number of commands, and returns the claim about each.
    async fn run(mut self, commands: u64) -> HashMap<String, Said> {
        let mut said = HashMap::new();
        for command in 0..commands {
            let text = format!("{}, command {command}.", self.follower);
            said.insert(text.clone(), self.try_to_write(&text).await);
        }
        said
    }

    /// Lets the network fail while `text` is written, and returns the claim about it.
    async fn try_to_write(&mut self, text: &str) -> Said {
        if self.random.u8(..100) < 12 {
            return self.try_at_the_write_itself(text).await;
        }
        let is_away = self.random.u8(..100) < 6;
        if is_away {
            self.proxy.leave().await;
        }
        let fault = self.any_fault();
        let requests = self.random.usize(..REQUESTS_MAX);
        if self.random.u8(..100) < 30 {
            self.proxy.cut();
        }
        self.proxy.arm_after(requests, fault);
        let strikes_again = self.random.bool();
        let again = self.random.usize(..REQUESTS_MAX);
        let fault = any_cut(&mut self.random);
        let kind = self.random.u8(..6);
        let proxy = &self.proxy;
        let more_faults = async {
            loop {
                sleep(Duration::from_millis(3)).await;
                if strikes_again && !proxy.is_armed() {
                    proxy.arm_after(again, fault);
                }
            }
        };
        let said = tokio::select! {
            said = timeout(CALL_MAX, self.write(kind, text)) => said.expect("no call hangs"),
            () = more_faults => unreachable!("it goes on until the call ends"),
        };
        self.proxy.disarm();
        self.proxy.listen();
        said
    }

    /// Lets the network fail at the request that carries `text`.
    ///
    /// Faults at random requests depend on the speed of the machine: on a slow one the second of them nearly always
    /// strikes while the store connects, so that hardly a write was left whose outcome is unknown. These do not.
    async fn try_at_the_write_itself(&mut self, text: &str) -> Said {
        let fault = any_cut(&mut self.random);
        // Without a command id, because a retry would find out by it what became of the first attempt.
        let kind = [2, 3, 5][self.random.usize(..3)];
        self.proxy.arm(text, fault);
        let said = timeout(CALL_MAX, self.write(kind, text)).await;
        self.proxy.disarm();
        said.expect("no call hangs")
    }

    async fn write(&self, kind: u8, text: &str) -> Said {
        let text = text.to_owned();
        let continued = || |_: &Diary| DiaryEvent::Continued { text: text.clone() };
        let command = self.app.command(CommandId::new());
        let begun = || DiaryEvent::Begun { text: text.clone() };
        match kind {
            0 => said_of(command.update(self.diary, continued()).await),
            1 => said_of(command.create(begun).await),
            2 => said_of(self.app.update(self.diary, continued()).await),
            _ => {
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(
                    stream(),
                    Expected::NoStream,
                    vec![event(text.clone())],
                );
                let append = match kind {
                    3 => append,
                    4 => append.with_command_id(CommandId::new()),
                    _ => append.with_tracking(self.step()),
                };
                said_of_error(self.store.append(append).await.err().as_ref())
            }
        }
    }

    fn step(&self) -> Tracking {
        let log = LogId::from_uuid(Uuid::nil());
        // A step from the present position is never refused.
        Tracking::new(self.follower.as_str(), log, Position::ZERO, Position::ZERO)
    }

    fn any_fault(&mut self) -> Fault {
        match self.random.u16(..1000) {
            0..12 => Fault::SilentBeforeReply(SILENCE),
            _ => any_cut(&mut self.random),
        }
    }
}

fn any_cut(random: &mut fastrand::Rng) -> Fault {
    match random.u8(..4) {
        0 => Fault::CutBeforeRequest,
        1 => Fault::CutBeforeReply,
        2 => Fault::CutWithinRequest,
        _ => Fault::CutWithinReply,
    }
}

fn said_of<T>(outcome: Result<T, ApplicationError>) -> Said {
    match outcome {
        Ok(_) => Said::Written,
        Err(ApplicationError::Store(error)) => said_of_error(Some(&error)),
        Err(error) => panic!("a broken network is no reason for {error:?}"),
    }
}

/// Returns the claim of an error, whose type and text must agree.
fn said_of_error(error: Option<&StoreError>) -> Said {
    let Some(error) = error else {
        return Said::Written;
    };
    assert!(
        matches!(error, StoreError::Unavailable { .. }),
        "a broken network is no reason for {error:?}"
    );
    let text = error.to_string();
    let claims = ["nothing was written", "wrote nothing", "not written"]
        .iter()
        .any(|claim| text.contains(claim));
    assert_eq!(claims, error.proves_nothing_written(), "{text}");
    if claims {
        Said::NothingWritten
    } else {
        Said::NotKnown
    }
}

/// Ends or cancels statements of the server at random.
async fn disturb(server_url: String, mut random: fastrand::Rng) {
    let client = connect(&server_url).await;
    loop {
        sleep(Duration::from_millis(random.u64(5..80))).await;
        let what = if random.bool() {
            "pg_cancel_backend"
        } else {
            "pg_terminate_backend"
        };
        let one = format!(
            "SELECT {what}(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'
             AND application_name = 'eventsourcing' ORDER BY random() LIMIT 1"
        );
        client
            .simple_query(&one)
            .await
            .expect("the superuser may do that");
    }
}

/// Waits until no attempt is under way.
async fn all_quiet(server_url: &str) {
    let client = connect(server_url).await;
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
        AND application_name = 'eventsourcing' AND state <> 'idle'";
    while client
        .query_one(busy, &[])
        .await
        .expect("a count")
        .get::<_, i64>(0)
        > 0
    {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_what_is_said_not_to_be_written_is_not_there() {
    let commands = std::env::var(COMMANDS_VARIABLE)
        .map_or(COMMANDS_DEFAULT, |text| text.parse().expect("a number"));
    let seed = Seed::from_env();
    let server = Server::start(FORGETFUL);
    let direct = format!("{}?application_name=judge", server.url("postgres"));
    let direct = PostgresOptions::new()
        .connect(&direct)
        .await
        .expect("a store");
    let mut lanes = Vec::new();
    for number in 0..LANES {
        lanes.push(Lane::open(number, seed, &server).await);
    }
    let disturbing = tokio::spawn(disturb(server.url("postgres"), seed.rng(99)));
    let lanes: Vec<_> = lanes
        .into_iter()
        .map(|lane| tokio::spawn(lane.run(commands as u64 / LANES)))
        .collect();
    let mut said = HashMap::new();
    for lane in lanes {
        said.extend(lane.await.expect("a lane comes to its end"));
    }
    disturbing.abort();
    all_quiet(&server.url("postgres")).await;
    judge(&direct, said, seed).await;
}

async fn judge(direct: &PostgresStore, said: HashMap<String, Said>, seed: Seed) {
    let log = log_of(direct).await;
    let log: Vec<_> = log
        .iter()
        .map(|event| String::from_utf8_lossy(&event.payload))
        .collect();
    let mut written: HashMap<&str, usize> = HashMap::new();
    for payload in &log {
        *written.entry(text_of(payload)).or_default() += 1;
    }
    let mut counts: HashMap<(Said, usize), usize> = HashMap::new();
    for (text, said) in &said {
        let times = written.get(text.as_str()).copied().unwrap_or_default();
        *counts.entry((*said, times)).or_default() += 1;
        match said {
            Said::Written => assert_eq!(times, 1, "{text:?} was acknowledged; {seed}"),
            Said::NothingWritten => assert_eq!(
                times, 0,
                "of {text:?} was said that nothing was written; {seed}"
            ),
            Said::NotKnown => assert!(times <= 1, "{text:?} was written {times} times; {seed}"),
        }
    }
    report(&format!("{} commands: {counts:?}", said.len()));
    for seen in [
        (Said::Written, 1),
        (Said::NothingWritten, 0),
        (Said::NotKnown, 0),
        (Said::NotKnown, 1),
    ] {
        assert!(
            counts
                .get(&seen)
                .is_some_and(|count| *count >= said.len() / 100),
            "hardly any {seen:?}; {seed}"
        );
    }
}

/// Returns the text of an event of either kind.
fn text_of(payload: &str) -> &str {
    payload
        .strip_prefix("{\"text\":\"")
        .and_then(|rest| rest.strip_suffix("\"}"))
        .unwrap_or(payload)
}
