//! An acknowledged append survives the accidents that the store names, tested with real servers.

use std::time::Duration;

use eventsourcing_core::store::{
    Acknowledged, Append, Appended, CommandId, EventStore, StoreError,
};
use eventsourcing_postgres::{Durability, PostgresOptions, PostgresStore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::{APP, server_with_roles_and};
use crate::support::server::DURABLE;
use crate::support::{Server, append, connect, log_of};

/// Longer than any action of the server takes here, and shorter than the statement timeout.
const TIMEOUT: Duration = Duration::from_secs(20);

async fn store_of(server: &Server) -> PostgresStore {
    PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store")
}

async fn relaxed_store_of(server: &Server) -> PostgresStore {
    let options = PostgresOptions::new().with_durability(Durability::Normal);
    options
        .connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store")
}

async fn acknowledged(store: &PostgresStore) -> Acknowledged {
    store.acknowledged().await.expect("an answer")
}

fn on_standbys(standbys: &str) -> Acknowledged {
    Acknowledged::OnStandbys {
        standbys: standbys.to_owned(),
        flushed: true,
    }
}

/// Changes a setting of the running server, and returns when new statements follow it.
async fn set(server: &Server, outsider: &Client, name: &str, value: &str) {
    outsider
        .batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'"))
        .await
        .expect("a setting");
    server.reload();
    let current = "SELECT current_setting($1)";
    let changed = async {
        while outsider
            .query_one(current, &[&name])
            .await
            .expect("a setting")
            .get::<_, String>(0)
            != value
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, changed)
        .await
        .expect("the server takes the setting");
}

/// Returns when `store` reports the expected guarantee, once its connections know of a change.
async fn says(store: &PostgresStore, expected: &Acknowledged) {
    let saying = async {
        while acknowledged(store).await != *expected {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let said = timeout(TIMEOUT, saying).await;
    assert!(
        said.is_ok(),
        "{:?} instead of {expected:?}",
        acknowledged(store).await
    );
}

fn appending(store: &PostgresStore, append: &Append) -> JoinHandle<Result<Appended, StoreError>> {
    let store = store.clone();
    let append = append.clone();

    tokio::spawn(async move { store.append(append).await })
}

/// The functions of the server that end a process or its statement.
const TERMINATE: &str = "pg_terminate_backend";
const CANCEL: &str = "pg_cancel_backend";

/// Returns when a commit waits for a standby, after that wait has been ended with `how`.
async fn ends_what_waits_for_a_standby(outsider: &Client, how: &str) {
    let end = format!("SELECT {how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    let ended = async {
        while outsider
            .query(&end, &[])
            .await
            .expect("the superuser may do that")
            .is_empty()
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, ended)
        .await
        .expect("a commit waits for a standby");
}

/// Ends every wait for a standby, until `task` has ended. A read retries once on a new connection.
async fn ends_all_that_waits<T>(outsider: &Client, task: JoinHandle<T>) -> T {
    ends_what_waits_for_a_standby(outsider, TERMINATE).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let ended = async {
        while !task.is_finished() {
            outsider
                .query(end, &[])
                .await
                .expect("the superuser may do that");
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, ended)
        .await
        .expect("it ends with its connection");
    task.await.expect("a task")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_says_that_appends_wait_for_standbys_exactly_where_they_do() {
    let server = server_with_roles_and(DURABLE).await;
    let outsider = connect(&server.url("postgres")).await;
    let full = store_of(&server).await;
    let relaxed = relaxed_store_of(&server).await;
    let alone = acknowledged(&full).await;
    assert!(matches!(alone, Acknowledged::OnDisk { .. }), "{alone:?}");
    assert!(
        alone.to_string().contains("as far as PostgreSQL knows"),
        "{alone}"
    );
    assert!(
        alone
            .to_string()
            .contains("set synchronous_standby_names; see docs/beyond-one-machine.md"),
        "{alone}"
    );
    full.append(append()).await.expect("no standby to wait for");

    set(
        &server,
        &outsider,
        "synchronous_standby_names",
        "ANY 1 (away)",
    )
    .await;
    says(&full, &on_standbys("ANY 1 (away)")).await;
    // The program decides, whatever the default of the server is.
    for default in ["off", "local", "remote_write", "on", "remote_apply"] {
        set(&server, &outsider, "synchronous_commit", default).await;
        let full = store_of(&server).await;
        assert_eq!(
            acknowledged(&full).await,
            on_standbys("ANY 1 (away)"),
            "{default}"
        );
        let waiting = appending(&full, &append());
        ends_what_waits_for_a_standby(&outsider, TERMINATE).await;
        let error = waiting.await.expect("a task").expect_err(default);
        assert!(!error.proves_nothing_written(), "{default}: {error}");
        let another = relaxed_store_of(&server).await;
        for relaxed in [&relaxed, &another] {
            let written = acknowledged(relaxed).await;
            let says_why = matches!(&written, Acknowledged::Written { remedy } if remedy.contains("Durability::Full"));
            assert!(
                says_why && !written.survives_loss_of_machine(),
                "{default}: {written:?}"
            );
            timeout(TIMEOUT, relaxed.append(append()))
                .await
                .expect("it waits for nothing")
                .expect("a receipt");
        }
    }

    set(&server, &outsider, "synchronous_standby_names", "").await;
    says(&full, &alone).await;
    full.append(append()).await.expect("no standby to wait for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_survive_the_loss_of_the_machine_is_there_after_a_fail_over() {
    let primary = server_with_roles_and(DURABLE).await;
    let standby = primary.standby(None);
    let outsider = connect(&primary.url("postgres")).await;
    let store = store_of(&primary).await;
    assert!(
        !acknowledged(&store).await.survives_loss_of_machine(),
        "a standby alone says nothing"
    );
    set(&primary, &outsider, "synchronous_standby_names", "standby").await;
    says(&store, &on_standbys("standby")).await;
    for _ in 0..50 {
        timeout(TIMEOUT, store.append(append()))
            .await
            .expect("the standby answers")
            .expect("a receipt");
    }
    primary.crash();
    drop(primary);
    standby.promote();
    let store = store_of(&standby).await;
    assert_eq!(log_of(&store).await.len(), 50);
    let alone = acknowledged(&store).await;
    assert!(
        matches!(alone, Acknowledged::OnDisk { .. }),
        "the new primary has no standby: {alone:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_make_standbys_or_disks_irrelevant_are_named() {
    let names = "synchronous_standby_names = 'away'";
    let server = server_with_roles_and(&[DURABLE, &["max_wal_senders = 0", names]].concat()).await;
    let store = store_of(&server).await;
    let on_disk = acknowledged(&store).await;
    assert!(
        matches!(on_disk, Acknowledged::OnDisk { .. }),
        "{on_disk:?}"
    );
    assert!(
        on_disk.to_string().contains("max_wal_senders = 0"),
        "{on_disk}"
    );
    timeout(TIMEOUT, store.append(append()))
        .await
        .expect("no commit waits for a standby")
        .expect("a receipt");

    let outsider = connect(&server.url("postgres")).await;
    for setting in ["fsync", "full_page_writes"] {
        set(&server, &outsider, setting, "off").await;
        let said = async {
            loop {
                match acknowledged(&store).await {
                    Acknowledged::Written { remedy }
                        if remedy.contains(&format!("{setting} = off")) =>
                    {
                        return;
                    }
                    _ => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(TIMEOUT, said)
            .await
            .unwrap_or_else(|_| panic!("{setting} is not named"));
        set(&server, &outsider, setting, "on").await;
        says(&store, &on_disk).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_that_cannot_ask_says_so_and_claims_nothing() {
    let server = server_with_roles_and(DURABLE).await;
    let store = store_of(&server).await;
    assert!(matches!(
        acknowledged(&store).await,
        Acknowledged::OnDisk { .. }
    ));
    server.crash();
    let error = store.acknowledged().await.expect_err("there is no server");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    server.start_again();
    assert!(
        matches!(acknowledged(&store).await, Acknowledged::OnDisk { .. }),
        "it asks again"
    );
}

/// A wait that is ended leaves the commit in the log of the primary, where it is visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_whose_wait_was_ended_is_answered_only_when_the_standbys_have_it() {
    let server = server_with_roles_and(DURABLE).await;
    let outsider = connect(&server.url("postgres")).await;
    let store = store_of(&server).await;
    set(&server, &outsider, "synchronous_standby_names", "away").await;
    says(&store, &on_standbys("away")).await;
    let command = CommandId::new();
    let append = append().with_command_id(command);
    let lost = ends_all_that_waits(&outsider, appending(&store, &append)).await;
    assert!(
        matches!(lost, Err(StoreError::Unavailable { .. })),
        "{lost:?}"
    );
    assert_eq!(log_of(&store).await.len(), 1, "it is committed");

    let repeated = ends_all_that_waits(&outsider, appending(&store, &append)).await;
    assert!(
        matches!(repeated, Err(StoreError::Unavailable { .. })),
        "one machine has it: {repeated:?}"
    );
    let asking = store.clone();
    let looked_up = tokio::spawn(async move { asking.receipt(command).await });
    let looked_up = ends_all_that_waits(&outsider, looked_up).await;
    assert!(
        matches!(looked_up, Err(StoreError::Unavailable { .. })),
        "one machine has it: {looked_up:?}"
    );
    let unknown = timeout(TIMEOUT, store.receipt(CommandId::new()))
        .await
        .expect("nothing to wait for");
    assert_eq!(unknown.expect("an answer"), None);

    // A crash ends all waits, and the log of the primary is visible after it.
    server.crash();
    server.start_again();
    let outsider = connect(&server.url("postgres")).await;
    let store = store_of(&server).await;
    let repeated = ends_all_that_waits(&outsider, appending(&store, &append)).await;
    assert!(
        matches!(repeated, Err(StoreError::Unavailable { .. })),
        "one machine has it: {repeated:?}"
    );

    let waiting = appending(&store, &append);
    set(&server, &outsider, "synchronous_standby_names", "").await;
    let repeated = timeout(TIMEOUT, waiting)
        .await
        .expect("an answer")
        .expect("a task")
        .expect("a receipt");
    assert!(repeated.repeated);
    assert_eq!(
        store.receipt(command).await.expect("an answer"),
        Some(repeated.receipt)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_whose_wait_is_cancelled_waits_again() {
    let server = server_with_roles_and(DURABLE).await;
    let outsider = connect(&server.url("postgres")).await;
    let store = store_of(&server).await;
    set(&server, &outsider, "synchronous_standby_names", "away").await;
    says(&store, &on_standbys("away")).await;
    for append in [append(), append().with_command_id(CommandId::new())] {
        let waiting = appending(&store, &append);
        for _ in 0..3 {
            ends_what_waits_for_a_standby(&outsider, CANCEL).await;
        }
        sleep(Duration::from_millis(200)).await;
        assert!(
            !waiting.is_finished(),
            "it is acknowledged, and one machine has it"
        );
        ends_all_that_waits(&outsider, waiting)
            .await
            .expect_err("its connection was ended");
    }
    let waiting = appending(&store, &append());
    ends_what_waits_for_a_standby(&outsider, CANCEL).await;
    set(&server, &outsider, "synchronous_standby_names", "").await;
    timeout(TIMEOUT, waiting)
        .await
        .expect("an answer")
        .expect("a task")
        .expect("a receipt");
}
