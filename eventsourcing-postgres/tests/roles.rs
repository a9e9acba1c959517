//! A program needs only the privileges of `roles.sql`, and with them it can add to the log but not change it.

#[path = "roles/acknowledged.rs"]
mod acknowledged;
mod support;

use std::time::Duration;

use eventsourcing_core::sql::SqlError;
use eventsourcing_core::store::{
    AuditStore, CommandId, EventStore, Expected, FollowerStore, HolderId, Lease, LeaseRequest,
    LogChecksumsQuery, LogHolder, LogQuery, Name, NotesQuery, Position, StoreError, StreamQuery,
    Tracking, Version,
};
use eventsourcing_core::{
    Aggregate, Application, Projection, RecordedEvent, System, event as events,
};
use eventsourcing_postgres::PostgresStore;
use serde::{Deserialize, Serialize};
use support::by_hand::begin_append;
use support::server::FORGETFUL;
use support::{Server, append, append_to, connect, log_of, one_line, reads_of, snapshot, stream};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;

/// The documented text, unchanged.
const GRANTS: &str = include_str!("../roles.sql");
/// The role in that text.
const APP: &str = "eventsourcing_app";

/// Revokes all default privileges on functions: the documented text must suffice for careful administrators too.
const HARDEN: &str = "
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA eventsourcing FROM PUBLIC;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    CREATE ROLE eventsourcing_app LOGIN";

async fn server_with_roles() -> Server {
    server_with_roles_and(FORGETFUL).await
}

async fn server_with_roles_and(settings: &[&str]) -> Server {
    let server = Server::start(settings);
    let owner = server.url("postgres");
    PostgresStore::connect(&owner)
        .await
        .expect("the owner makes the schema")
        .close()
        .await;
    let owner = connect(&owner).await;
    owner.batch_execute(HARDEN).await.expect("a role");
    owner
        .batch_execute(GRANTS)
        .await
        .expect("the documented grants");
    server
}

#[derive(Aggregate, Debug, Serialize, Deserialize)]
struct Bell {
    rings: u64,
}

#[events]
impl Bell {
    fn rung() -> Self {
        Self { rings: 1 }
    }
}

struct Bells {
    _app: Application,
}

impl From<Application> for Bells {
    fn from(app: Application) -> Self {
        Self { _app: app }
    }
}

#[derive(Default)]
struct Ear;

impl Projection<Bell> for Ear {
    type Error = std::convert::Infallible;

    async fn project(&self, _: &RecordedEvent<Bell>) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[derive(System)]
#[expect(dead_code, reason = "it is only watched")]
struct Tower {
    #[application(aggregates(Bell))]
    bells: Bells,

    #[projection(follows(bells: Bell))]
    ear: Ear,
}

/// Returns the report of `store` about the transactions that hold back the log, once there are any.
async fn holders_of(store: &PostgresStore) -> Vec<LogHolder> {
    let waiting = async {
        loop {
            let holders = store.log_holders().await.expect("an answer");
            if !holders.is_empty() {
                return holders;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting)
        .await
        .expect("a transaction holds back the log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_role_is_told_who_holds_back_the_log() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    store.append(append()).await.expect("a receipt");
    assert_eq!(store.log_holders().await.expect("an answer"), []);
    let outsider = connect(&server.url("postgres")).await;
    outsider
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
        .await
        .expect("a setting");
    server.reload();
    let names = "SELECT current_setting('synchronous_standby_names')";
    while outsider
        .query_one(names, &[])
        .await
        .expect("a setting")
        .get::<_, String>(0)
        .is_empty()
    {
        sleep(Duration::from_millis(10)).await;
    }

    let stream = stream();
    let hanging = {
        let store = store.clone();
        let append = append_to(&stream, Expected::Any);

        tokio::spawn(async move { store.append(append).await })
    };
    let holders = holders_of(&store).await;
    let [holder] = &*holders else {
        panic!("one append hangs: {holders:?}")
    };
    assert!(
        holder.doing.contains("waits for a synchronous standby"),
        "{holder}"
    );
    assert!(
        holder.doing.contains("application eventsourcing") && holder.doing.contains(APP),
        "{holder}"
    );
    assert!(
        holder
            .held_for
            .is_some_and(|held_for| held_for >= Duration::from_secs(1)),
        "{holder}"
    );
    let process = holder.process.expect("a process of the server");
    let tower = Tower::builder(store.clone())
        .start()
        .await
        .expect("a system");
    let health = tower.health().await.expect("its health");
    assert_eq!(
        health.log_holders.len(),
        1,
        "the log is followed, and so its holder is told: {health:?}"
    );
    assert_eq!(health.log_holders[0].process, Some(process));
    let acknowledged = &health.acknowledged[&store.log_id()];
    assert!(
        acknowledged.to_string().contains("fsync = off"),
        "this server flushes nothing: {acknowledged}"
    );

    outsider
        .execute("SELECT pg_terminate_backend($1)", &[&process])
        .await
        .expect("the superuser may do that");
    let error = hanging
        .await
        .expect("a task")
        .expect_err("its connection was ended");
    assert!(!error.proves_nothing_written(), "it is committed: {error}");
    assert_eq!(store.log_holders().await.expect("an answer"), []);
    outsider
        .batch_execute("ALTER SYSTEM RESET synchronous_standby_names")
        .await
        .expect("a setting");
    server.reload();
    assert_eq!(log_of(&store).await.len(), 2, "what was committed stays");
    drop(tower);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_role_is_told_of_open_and_prepared_transactions_of_others() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    let owner = PostgresStore::connect(server.url("postgres"))
        .await
        .expect("a store");
    let open = connect(&server.url("postgres")).await;
    open.batch_execute("SET search_path = eventsourcing")
        .await
        .expect("a search path");
    begin_append(&open, "account", "open").await;
    let holders = holders_of(&store).await;
    assert!(
        holders[0].process.is_some() && holders[0].held_for.is_none(),
        "{holders:?}"
    );
    assert!(
        holders[0].doing.contains("does not tell this role"),
        "{holders:?}"
    );
    let holders = holders_of(&owner).await;
    assert!(
        holders[0].doing.contains("idle in a transaction"),
        "{holders:?}"
    );
    open.batch_execute("PREPARE TRANSACTION 'left behind'")
        .await
        .expect("a prepared transaction");
    let holders = holders_of(&store).await;
    assert!(
        holders[0].process.is_none() && holders[0].doing.contains("left behind"),
        "{holders:?}"
    );
    assert!(holders[0].held_for.is_some(), "{holders:?}");
    open.batch_execute("ROLLBACK PREPARED 'left behind'")
        .await
        .expect("it is rolled back");
    assert_eq!(store.log_holders().await.expect("an answer"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_role_does_everything_a_program_does() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    let other = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    let stream = stream();
    let command = CommandId::new();
    let follower = Name::from_static("mailer");

    let upstream = store.log_id();
    for (from, to) in [(0, 1), (1, 5)] {
        let from = Position::new(from);
        let to = Position::new(to);

        let holder = HolderId::new();
        let duration = Duration::from_secs(60);

        let request = LeaseRequest {
            follower: follower.clone(),
            upstream,
            holder,
            duration,
        };
        let lease = store.lease(request).await.expect("a lease");
        let Lease::Held { token, .. } = lease else {
            panic!("it was released, but {lease:?}")
        };
        let tracking = Tracking::new(follower.clone(), upstream, from, to).with_lease(token);
        let tracking = tracking
            .with_note(to.to_string(), "kept")
            .without_note(from.to_string());
        let append = append_to(&stream, Expected::Any)
            .with_tracking(tracking)
            .with_snapshot(snapshot(&stream, 1));
        store
            .append(append)
            .await
            .expect("events, a step and a snapshot");
        assert_eq!(
            store
                .tracking(&follower, store.log_id())
                .await
                .expect("a position"),
            to
        );
        let holder_seen = store
            .lease_holder(&follower, upstream)
            .await
            .expect("an answer")
            .map(|seen| seen.holder);
        assert_eq!(holder_seen, Some(holder));
        store
            .release(&follower, upstream, token)
            .await
            .expect("the lease is given back");
    }
    let notebook = store
        .notes(NotesQuery::new(follower.clone(), upstream, ""))
        .await
        .expect("notes");
    assert_eq!(notebook.notes.into_keys().collect::<Vec<_>>(), ["5"]);
    let mut transaction = store
        .database()
        .expect("a database")
        .begin()
        .await
        .expect("a transaction");
    let in_place = Tracking::new(follower, upstream, Position::new(5), Position::new(5));
    transaction
        .step(&in_place.with_note("6", "kept").without_note("5"))
        .await
        .expect("the follower is there");
    transaction.commit().await.expect("a step in a transaction");
    let stale = store.append(append_to(&stream, Expected::NoStream)).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { actual, .. }) if actual == Version::new(2)),
        "{stale:?}"
    );
    let guarded = append().with_guard(stream.clone(), Expected::Exists);
    store
        .append(guarded)
        .await
        .expect("a guard on a further stream");
    let named = append().with_command_id(command);
    let receipt = store
        .append(named.clone())
        .await
        .expect("a command")
        .receipt;
    assert!(
        store
            .append(named)
            .await
            .expect("the first receipt")
            .repeated
    );
    assert_eq!(
        store.receipt(command).await.expect("an answer"),
        Some(receipt)
    );

    let loaded = store.load(reads_of(&stream).0).await.expect("a state");
    assert_eq!(
        (
            loaded.snapshot.map(|found| found.version),
            loaded.events.len()
        ),
        (Some(Version::FIRST), 1)
    );
    assert_eq!(
        store
            .read_stream(StreamQuery::new(stream))
            .await
            .expect("a stream")
            .len(),
        2
    );
    let log = log_of(&store).await;
    assert_eq!(
        (log.len(), store.head().await.expect("a head")),
        (4, receipt.position)
    );
    let checksums = store
        .checksums(LogChecksumsQuery::new(Position::ZERO, receipt.position))
        .await
        .expect("figures");
    assert_eq!(
        checksums
            .values()
            .map(|checksums| checksums.count)
            .sum::<u64>(),
        4
    );
    let first = LogQuery::after(Position::ZERO)
        .categories(["account"])
        .first_of_stream();
    assert_eq!(store.read_log(first).await.expect("a page").events.len(), 3);

    let waiting = tokio::spawn(async move { other.wait_beyond(receipt.position, None).await });
    let guarded = append().with_guard(self::stream(), Expected::NoStream);
    store.append(guarded).await.expect("an append with a guard");
    timeout(Duration::from_secs(10), waiting)
        .await
        .expect("woken in time")
        .expect("a task")
        .expect("a head");
}

/// A hole makes readers list the holders of the appender lock, which must be visible to this role too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_role_never_skips_an_event() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    let late = connect(&server.url("postgres")).await;
    late.batch_execute("SET search_path = eventsourcing")
        .await
        .expect("a search path");
    support::by_hand::begin_append(&late, "account", "late").await;
    store.append(append()).await.expect("a receipt");
    assert_eq!(
        log_of(&store).await.len(),
        0,
        "what lies behind an open append is not read before it"
    );
    support::by_hand::commit(&late).await;
    assert_eq!(log_of(&store).await.len(), 2);
}

#[tokio::test]
async fn granted_role_cannot_change_what_stands_in_the_log() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    store
        .append(append().with_command_id(CommandId::new()))
        .await
        .expect("a receipt");
    let before = log_of(&store).await;
    let app = connect(&server.url_of(APP, "postgres")).await;
    app.batch_execute("SET search_path = eventsourcing")
        .await
        .expect("a search path");
    for statement in [
        "UPDATE events SET name = 'other'",
        "DELETE FROM events",
        "TRUNCATE events",
        "DROP TABLE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "SELECT setval('events_position', 1)",
        "UPDATE receipts SET position = 0",
        "DELETE FROM receipts",
        "TRUNCATE receipts",
        "UPDATE meta SET value = '0'",
        "DELETE FROM meta",
        "INSERT INTO meta (key, value) VALUES ('mine', '1')",
        "TRUNCATE tracking",
        "TRUNCATE notes",
        "DELETE FROM leases",
        "CREATE TABLE mine ()",
        "DROP FUNCTION appender_lock",
    ] {
        let error = app.batch_execute(statement).await.expect_err(statement);
        assert_eq!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{statement}: {error:?}"
        );
    }
    assert_eq!(log_of(&store).await, before);
}

/// The privileges for read models are in the same text, as comments.
#[tokio::test]
async fn role_makes_tables_for_read_models_once_that_is_granted() {
    let server = server_with_roles().await;
    let store = PostgresStore::connect(server.url_of(APP, "postgres"))
        .await
        .expect("a store");
    let database = store.database().expect("a database");
    let create = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount BIGINT NOT NULL)";
    let mut refused = database.begin().await.expect("a transaction");
    let error = refused
        .execute(create, &[])
        .await
        .expect_err("it has not been granted yet");
    assert!(
        matches!(&error, SqlError::Statement { reason, .. } if reason.contains("roles.sql")),
        "{error:?}"
    );
    drop(refused);

    let more = GRANTS
        .lines()
        .find_map(|line| line.strip_prefix("-- GRANT CREATE"))
        .expect("the remark");
    let more = format!("GRANT CREATE{more}");
    assert!(
        include_str!("../README.md").contains(&more),
        "README.md lacks {more}"
    );
    connect(&server.url("postgres"))
        .await
        .batch_execute(&more)
        .await
        .expect("the documented grant");
    let step = Tracking::new(
        "statements",
        store.log_id(),
        Position::ZERO,
        Position::new(1),
    );
    let mut transaction = database.begin().await.expect("a transaction");
    transaction.step(&step).await.expect("the follower is at 0");
    for sql in [
        create,
        "INSERT INTO balances (account, amount) VALUES ('Ada', 1)",
    ] {
        transaction.execute(sql, &[]).await.expect(sql);
    }
    transaction.commit().await.expect("it is committed");
    assert_eq!(
        database
            .query("SELECT * FROM balances", &[])
            .await
            .expect("rows")
            .len(),
        1
    );
    let mut transaction = database.begin().await.expect("a transaction");
    transaction
        .execute("DROP TABLE balances", &[])
        .await
        .expect("it owns the table");
    transaction.commit().await.expect("it is committed");
}

#[tokio::test]
async fn role_that_may_not_is_told_so() {
    let server = server_with_roles().await;
    let owner = connect(&server.url("postgres")).await;
    owner
        .batch_execute("CREATE ROLE stranger LOGIN")
        .await
        .expect("a role");
    for (role, schema) in [("stranger", "eventsourcing"), (APP, "another")] {
        let options = eventsourcing_postgres::PostgresOptions::new().with_schema(schema);
        let error = options
            .connect(server.url_of(role, "postgres"))
            .await
            .expect_err("no privileges");
        assert!(
            matches!(error, StoreError::Invalid { .. }),
            "{role}: {error:?}"
        );
        assert!(
            one_line(&error).contains("permission denied"),
            "{role}: {error}"
        );
    }
}

#[test]
fn readme_gives_the_same_grants() {
    let readme = include_str!("../README.md");
    let grants = GRANTS
        .lines()
        .filter(|line| !line.starts_with("--") && !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    assert!(readme.contains(&grants), "README.md lacks\n{grants}");
}
