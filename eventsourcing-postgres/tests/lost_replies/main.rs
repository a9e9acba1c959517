//! A network that fails at the worst moment: a retry with the same command id never writes twice. Promises P6, P11 and
//! P28.

mod claims;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use eventsourcing_core::store::{Append, Appended, CommandId, EventStore, Expected, StoreError};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_testing::Seed;
use jiff::Timestamp;
use support::proxy::{Fault, Proxy};
use support::server::{FORGETFUL, Server};
use support::{append, event, log_of, reads_of, report, stream};
use tokio::time::timeout;

/// The time limit of every call, whatever the network does: the timeouts below, and a margin.
const DEADLINE: Duration = Duration::from_secs(8);
const TIMEOUT: Duration = Duration::from_millis(700);
const COMMANDS: usize = 200;
const RETRIES_MAX: usize = 20;

fn options() -> PostgresOptions {
    PostgresOptions::new()
        .with_connect_timeout(TIMEOUT)
        .with_statement_timeout(TIMEOUT)
}

async fn within_deadline<T>(call: impl Future<Output = T>) -> T {
    timeout(DEADLINE, call)
        .await
        .expect("every call ends within its deadline")
}

/// Retries until there is an answer; returns it and the number of times that the store was unavailable.
async fn insist(store: &PostgresStore, append: &Append) -> (Appended, usize) {
    for failed in 0..RETRIES_MAX {
        match within_deadline(store.append(append.clone())).await {
            Ok(appended) => return (appended, failed),
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("a broken network is no reason for {error:?}"),
        }
    }
    panic!("the store does not heal: {RETRIES_MAX} calls failed");
}

/// Returns a random fault. Silence takes long, so it is rare.
fn any_fault(random: &mut fastrand::Rng, number: usize) -> Fault {
    match random.u8(..100) {
        _ if number % 66 == 33 => Fault::SilentBeforeReply(TIMEOUT * 8),
        0..60 => Fault::CutBeforeReply,
        _ => Fault::CutBeforeRequest,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_a_lost_reply_writes_nothing_twice() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    let server = Server::start(FORGETFUL);
    let proxy = Proxy::before(server.port()).await;
    let store = options()
        .connect(&proxy.url("postgres", "postgres"))
        .await
        .expect("a store");
    let direct = options()
        .connect(&server.url("postgres"))
        .await
        .expect("a store");
    let stream = stream();
    let mut texts = Vec::new();
    let mut lost_replies = 0;

    for number in 0..COMMANDS {
        let text = format!("command number {number}.");
        let append = Append::new(Timestamp::UNIX_EPOCH)
            .with_command_id(CommandId::new())
            .with_events(stream.clone(), Expected::Any, vec![event(text.clone())]);
        let fault = any_fault(&mut random, number);
        proxy.arm(text.clone(), fault);
        let (appended, _) = insist(&store, &append).await;
        assert!(!proxy.disarm(), "{fault:?} has struck; {seed}");
        lost_replies += usize::from(appended.repeated);
        assert_eq!(
            appended.repeated,
            fault != Fault::CutBeforeRequest,
            "what was written before the reply was lost is recognised: {fault:?}; {seed}"
        );
        let (again, _) = insist(&store, &append).await;
        assert_eq!(again, Appended::repeated(appended.receipt), "{seed}");
        let elsewhere = direct.append(append).await.expect("a receipt");
        assert_eq!(
            elsewhere, again,
            "another store knows the same receipt; {seed}"
        );
        texts.push(text);
    }
    assert!(
        lost_replies > COMMANDS / 3,
        "hardly a reply was lost: {lost_replies}; {seed}"
    );
    let log = log_of(&direct).await;
    let written: Vec<_> = log
        .into_iter()
        .map(|event| String::from_utf8(event.payload).expect("text"))
        .collect();
    assert_eq!(written, texts, "every command was carried out once; {seed}");
    report(&format!("{COMMANDS} commands, {lost_replies} replies lost"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_network_ends_every_call_in_time_and_passes() {
    let server = Server::start(FORGETFUL);
    let proxy = Proxy::before(server.port()).await;
    let url = proxy.url("postgres", "postgres");
    let store = options().connect(&url).await.expect("a store");
    store.append(append()).await.expect("a receipt");
    proxy.fall_silent();
    let stream = stream();
    let command = CommandId::new();
    for _ in 0..2 {
        let (load, query) = reads_of(&stream);
        let (append, load, page, head, receipt, connect) = tokio::join!(
            within_deadline(store.append(append().with_command_id(command))),
            within_deadline(store.load(load)),
            within_deadline(store.read_log(query)),
            within_deadline(store.head()),
            within_deadline(store.receipt(command)),
            within_deadline(options().connect(&url)),
        );
        assert_unavailable("append", append);
        assert_unavailable("load", load);
        assert_unavailable("read_log", page);
        assert_unavailable("head", head);
        assert_unavailable("receipt", receipt);
        assert_unavailable("connect", connect);
    }
    proxy.speak();
    proxy.cut();
    let start = Instant::now();
    insist(&store, &append()).await;
    while within_deadline(store.head()).await.is_err() {
        assert!(start.elapsed() < DEADLINE * 4, "the store does not heal");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_replaced() {
    let server = Server::start(FORGETFUL);
    let proxy = Proxy::before(server.port()).await;
    let store = options()
        .connect(&proxy.url("postgres", "postgres"))
        .await
        .expect("a store");
    for _ in 0..20 {
        proxy.cut();
        insist(&store, &append().with_command_id(CommandId::new())).await;
    }
    assert_eq!(log_of(&store).await.len(), 20);
}

fn assert_unavailable<T: std::fmt::Debug>(what: &str, result: Result<T, StoreError>) {
    match result {
        Err(StoreError::Unavailable { .. }) => {}
        other => panic!("{what} over a silent network: {other:?}"),
    }
}
