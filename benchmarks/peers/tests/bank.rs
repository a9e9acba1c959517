//! Every peer keeps a bank correctly, on a server of its own: otherwise its figures say nothing.

#[expect(dead_code, reason = "not all of what the tests of the product need")]
#[path = "../../../eventsourcing-postgres/tests/support/server.rs"]
mod server;

use std::sync::Arc;

use contest::{Contestant, account, amount};
use server::{DURABLE, Server};
use tokio::task::JoinSet;

const TASKS: u64 = 8;
const CREDITS_OF_A_TASK: u64 = 20;
const EVENTS_OF_AN_APPEND: u64 = 100;

async fn enter(peer: &str, server: &Server) -> Arc<dyn Contestant> {
    let entered = peers::enter(peer.into(), server.url("postgres")).await;
    entered.unwrap_or_else(|error| panic!("{peer} does not enter: {error}"))
}

/// Credits by many tasks are all there, an append is, and the log has both.
async fn keeps_a_bank(peer: &str, has_log: bool) {
    let server = Server::start(DURABLE);
    let bank = enter(peer, &server).await;
    let shared = account("shared", 0);
    let long = account("long", 0);

    assert!(
        bank.rebuild(shared).await.is_err(),
        "{peer} knows an account that nobody opened"
    );

    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let bank = Arc::clone(&bank);
        tasks.spawn(async move {
            for number in 0..CREDITS_OF_A_TASK {
                bank.credit(shared, amount(task * CREDITS_OF_A_TASK + number))
                    .await
                    .expect("a credit");
            }
        });
    }
    tasks.join_all().await;
    let credited: u64 = (0..TASKS * CREDITS_OF_A_TASK).map(amount).sum();
    assert_eq!(
        bank.rebuild(shared).await.expect("the account"),
        credited,
        "{peer} lost credits"
    );

    bank.append(long, EVENTS_OF_AN_APPEND)
        .await
        .expect("an append");
    let appended: u64 = (1..EVENTS_OF_AN_APPEND).map(amount).sum();
    assert_eq!(
        bank.rebuild(long).await.expect("the account"),
        appended,
        "{peer} lost events of an append"
    );

    // Who comes later finds what is there.
    let bank = enter(peer, &server).await;
    assert_eq!(
        bank.rebuild(shared).await.expect("the account"),
        credited,
        "{peer} forgot"
    );
    let log = has_log.then_some(TASKS * CREDITS_OF_A_TASK + EVENTS_OF_AN_APPEND);
    assert_eq!(
        bank.read_log().await.expect("a log"),
        log,
        "{peer} reads another log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cqrs_es() {
    keeps_a_bank("cqrs-es", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disintegrate() {
    keeps_a_bank("disintegrate", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn es_entity() {
    keeps_a_bank("es-entity", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn esrs() {
    keeps_a_bank("esrs", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eventastic() {
    keeps_a_bank("eventastic", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eventually() {
    keeps_a_bank("eventually", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mire() {
    keeps_a_bank("mire", true).await;
}

#[tokio::test]
async fn a_stranger_does_not_enter() {
    let refused = peers::enter("nobody".into(), String::new())
        .await
        .err()
        .expect("a refusal")
        .to_string();
    assert!(
        peers::PEERS.iter().all(|peer| refused.contains(peer)),
        "{refused}"
    );
}
