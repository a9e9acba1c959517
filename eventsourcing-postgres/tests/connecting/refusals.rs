//! Servers that refuse connections or writes, or lack resources: each error says what to do, and nothing is reported as
//! corrupt.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use eventsourcing_core::store::{EventStore, LogQuery, Position, StoreError};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use tokio::task::block_in_place;

use crate::support::server::FORGETFUL;
use crate::support::{Server, append, connect, one_line};

fn options() -> PostgresOptions {
    PostgresOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_statement_timeout(Duration::from_secs(5))
}

async fn refusal(url: &str) -> StoreError {
    match options().connect(url).await {
        Ok(_) => panic!("opened: {url}"),
        Err(error) => error,
    }
}

#[track_caller]
fn assert_unavailable(error: &StoreError, parts: &[&str]) {
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_says(error, parts);
}

#[track_caller]
fn assert_invalid(error: &StoreError, parts: &[&str]) {
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert_says(error, parts);
}

#[track_caller]
fn assert_says(error: &StoreError, parts: &[&str]) {
    let text = one_line(error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Returns the errors of a store that was opened before `spoil` was executed.
async fn errors_after(server: &Server, store: &PostgresStore, spoil: &str) -> Vec<StoreError> {
    connect(&server.url("postgres"))
        .await
        .batch_execute(spoil)
        .await
        .expect(spoil);
    let append = store.append(append()).await.map(drop);
    let page = store
        .read_log(LogQuery::after(Position::ZERO))
        .await
        .map(drop);
    let head = store.head().await.map(drop);
    [append, page, head]
        .into_iter()
        .map(|outcome| outcome.expect_err(spoil))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_databases_and_limits_are_named() {
    let server = Server::start(&[FORGETFUL, &["max_connections = 20"]].concat());
    let outsider = connect(&server.url("postgres")).await;
    let roles =
        "CREATE ROLE poor LOGIN; CREATE ROLE lonely LOGIN SUPERUSER CONNECTION LIMIT 0; ALTER ROLE lonely NOSUPERUSER;
        CREATE ROLE reader LOGIN SUPERUSER; ALTER ROLE reader SET default_transaction_read_only = on;
        CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    for statement in roles.split(';') {
        outsider.batch_execute(statement).await.expect(statement);
    }
    let error = refusal(&server.url_of("poor", "postgres")).await;
    assert_invalid(
        &error,
        &[
            "permission denied for database",
            "let a role that may create it connect once",
        ],
    );
    let error = refusal(&server.url_of("lonely", "postgres")).await;
    assert_unavailable(
        &error,
        &[
            "too many connections for role",
            "PostgresOptions::with_readers",
        ],
    );
    let error = refusal(&server.url_of("reader", "postgres")).await;
    assert_unavailable(&error, &["default_transaction_read_only"]);
    let error = refusal(&server.url("nowhere")).await;
    assert_unavailable(&error, &["nowhere", "create it, or correct the name"]);
    let error = refusal(&server.url("latin")).await;
    assert_invalid(&error, &["LATIN1", "UTF8"]);
    let error = refusal(&server.url_of("nobody-known", "postgres")).await;
    assert_unavailable(&error, &["nobody-known", "pg_hba.conf"]);

    let mut taken = Vec::new();
    while let Ok((client, connection)) =
        tokio_postgres::connect(&server.url("postgres"), tokio_postgres::NoTls).await
    {
        tokio::spawn(connection);
        taken.push(client);
    }
    let error = refusal(&server.url("postgres")).await;
    assert_unavailable(&error, &["too many clients", "max_connections"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_from_a_store_is_missed_and_not_called_corrupt() {
    let server = Server::start(FORGETFUL);
    let owner = options()
        .connect(server.url("postgres"))
        .await
        .expect("a store");
    owner.append(append()).await.expect("a receipt");
    let roles = include_str!("../../roles.sql").replace("eventsourcing_app", "app");
    let outsider = connect(&server.url("postgres")).await;
    outsider
        .batch_execute(&format!("CREATE ROLE app LOGIN; {roles}"))
        .await
        .expect("roles");
    let store = options()
        .connect(server.url_of("app", "postgres"))
        .await
        .expect("a store");
    store.append(append()).await.expect("a receipt");
    for error in errors_after(
        &server,
        &store,
        "REVOKE ALL ON ALL TABLES IN SCHEMA eventsourcing FROM app",
    )
    .await
    {
        assert_invalid(&error, &["permission denied", "roles.sql"]);
    }
    for error in errors_after(
        &server,
        &owner,
        "ALTER SCHEMA eventsourcing RENAME TO elsewhere",
    )
    .await
    {
        assert_unavailable(&error, &["dropped or renamed"]);
    }
    outsider
        .batch_execute("ALTER SCHEMA elsewhere RENAME TO eventsourcing")
        .await
        .expect("it is back");
    owner
        .append(append())
        .await
        .expect("the store goes on where its tables are back");
    for error in errors_after(
        &server,
        &owner,
        "ALTER TABLE eventsourcing.events RENAME TO moved",
    )
    .await
    {
        assert_unavailable(&error, &["dropped or renamed"]);
    }
    outsider
        .batch_execute("ALTER TABLE eventsourcing.moved RENAME TO events")
        .await
        .expect("it is back");
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    outsider.batch_execute(read_only).await.expect("a setting");
    block_in_place(|| server.reload());
    let error = loop {
        match owner.append(append()).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    assert_unavailable(
        &error,
        &[
            "default_transaction_read_only",
            "this attempt wrote nothing",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequence_behind_the_events_is_named_with_what_to_run() {
    let server = Server::start(FORGETFUL);
    let store = options()
        .connect(server.url("postgres"))
        .await
        .expect("a store");
    for _ in 0..40 {
        store.append(append()).await.expect("a receipt");
    }
    let spoil = "SELECT setval('eventsourcing.events_position', 1, false)";
    connect(&server.url("postgres"))
        .await
        .batch_execute(spoil)
        .await
        .expect("a sequence");
    let error = store
        .append(append())
        .await
        .expect_err("these positions are taken");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert_says(&error, &["events_position is behind the events", "setval"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_and_server_that_takes_no_connections_are_named() {
    let server = Server::start(FORGETFUL);
    options()
        .connect(server.url("postgres"))
        .await
        .expect("a store")
        .close()
        .await;
    block_in_place(|| server.stop());
    server.put("data/standby.signal", "");
    block_in_place(|| server.start_again());
    let error = refusal(&server.url("postgres")).await;
    assert_unavailable(&error, &["replica", "connect to the primary"]);

    block_in_place(|| server.stop());
    let closed = "hot_standby = off";
    server.set(closed);
    block_in_place(|| server.start_without_waiting());
    let error = loop {
        let error = refusal(&server.url("postgres")).await;
        if !error.to_string().contains("refused") {
            break error;
        }
    };
    assert_unavailable(&error, &["wait until it takes connections again"]);
}

/// Starts a server that answers every request with one error.
fn answers_with(severity: &str, code: &str, message: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let fields = format!("S{severity}\0V{severity}\0C{code}\0M{message}\0\0");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let mut asked = [0; 1024];
            let _ = client.read(&mut asked);
            let length = u32::try_from(fields.len() + 4)
                .expect("a short message")
                .to_be_bytes();
            let _ = client.write_all(&[b"E".as_slice(), &length, fields.as_bytes()].concat());
        }
    });
    port
}

/// Errors of a server that cannot be provoked here: full disks, lack of memory, damaged files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_lacks_is_named() {
    for (code, message, part) in [
        (
            "53100",
            "could not extend file \"base/1/2\": No space left on device",
            "the server's disk is full",
        ),
        (
            "53100",
            "could not write to file \"base/pgsql_tmp/pgsql_tmp7.0\": No space left on device",
            "no room for temporary files",
        ),
        (
            "53400",
            "temporary file size exceeds temp_file_limit (1024kB)",
            "temp_file_limit",
        ),
        ("53200", "out of memory", "the server is out of memory"),
        (
            "57P03",
            "the database system is starting up",
            "wait until it takes connections again",
        ),
        (
            "57P03",
            "the database system is shutting down",
            "wait until it takes connections again",
        ),
        (
            "57P01",
            "terminating connection due to administrator command",
            "it is replaced automatically",
        ),
        (
            "58030",
            "could not read block 7 in file \"base/1/2\": Input/output error",
            "look into its log",
        ),
        (
            "XX000",
            "cache lookup failed for type 7",
            "cache lookup failed",
        ),
        (
            "08P01",
            "transaction blocks not allowed in statement pooling mode",
            "session mode",
        ),
    ] {
        let port = answers_with("FATAL", code, message);
        let error = refusal(&format!(
            "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        ))
        .await;
        assert_unavailable(&error, &[part]);
    }
    let port = answers_with(
        "FATAL",
        "XX001",
        "invalid page in block 7 of relation base/1/2",
    );
    let error = refusal(&format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    ))
    .await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}
