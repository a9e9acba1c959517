//! The objects that opening a store creates, refuses and leaves alone, and its messages. Promise P29.

mod support;

use std::collections::HashSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{
    Append, CommandId, EventStore, FollowerStore, LogId, NotesQuery, Position, Receipt,
    ReceiptKind, SharedAnswer, SharedCommand, StoreError,
};
use eventsourcing_postgres::PostgresStore;
use support::server::{FORGETFUL, GUARDED_USER, PASSWORD};
use support::{Place, Server, append, connect, log_of, one_line};
use tokio::time::timeout;

/// The connect timeout that tests choose, with a margin for a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(3);
/// A password that no error may show.
const SECRET: &str = "hunter-number-two";

/// Returns the refusal to open a place. It comes in time, in one line, and without the password.
async fn refusal(place: &Place) -> StoreError {
    let start = Instant::now();
    let connecting = place
        .options()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .connect(place.url());
    let result = timeout(CONNECT_TIMEOUT + MARGIN, connecting).await;
    let error = match result
        .unwrap_or_else(|_| panic!("not refused after {:?}: {}", start.elapsed(), place.url()))
    {
        Ok(_) => panic!("opened: {}", place.url()),
        Err(error) => error,
    };
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(
                !text.contains(SECRET) && !text.contains(PASSWORD),
                "the password is shown: {text}"
            );
        }
        cause = error.source();
    }
    error
}

fn assert_says(error: &StoreError, wanted: &[&str]) {
    let text = one_line(error).to_lowercase();
    assert!(
        wanted.iter().any(|wanted| text.contains(wanted)),
        "none of {wanted:?} in: {error}\n{error:?}"
    );
}

fn guarded_server() -> Server {
    Server::start(FORGETFUL)
}

async fn make_guarded_user(server: &Server) {
    let role = format!("CREATE ROLE {GUARDED_USER} SUPERUSER LOGIN PASSWORD '{PASSWORD}'");
    connect(&server.url("postgres"))
        .await
        .batch_execute(&role)
        .await
        .expect("a role");
}

#[tokio::test]
async fn password_is_asked_for_and_never_shown() {
    let server = guarded_server();
    make_guarded_user(&server).await;
    let right = server.url_of(&format!("{GUARDED_USER}:{PASSWORD}"), "postgres");
    let place = Place::at(right);
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    let shown = format!("{store:?} {:?}", place.options());
    assert!(!shown.contains(PASSWORD), "the password is shown: {shown}");

    let wrong = Place::at(server.url_of(&format!("{GUARDED_USER}:{SECRET}"), "postgres"));
    assert_says(&refusal(&wrong).await, &["password"]);
    let none = Place::at(server.url_of(GUARDED_USER, "postgres"));
    assert_says(&refusal(&none).await, &["password"]);
}

#[tokio::test]
async fn unknown_user_and_database_are_named() {
    let server = guarded_server();
    let nobody = Place::at(server.url_of("nobody_knows", "postgres"));
    assert_says(&refusal(&nobody).await, &["nobody_knows"]);
    let nowhere = Place::at(server.url_of("postgres", "nowhere_to_be"));
    assert_says(&refusal(&nowhere).await, &["nowhere_to_be"]);
}

#[tokio::test]
async fn server_that_is_not_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let closed = Place::at(format!(
        "postgres://postgres:{SECRET}@127.0.0.1:{free}/postgres"
    ));
    let error = refusal(&closed).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_says(&error, &["127.0.0.1"]);

    let unknown = Place::at(format!(
        "postgres://postgres:{SECRET}@host.does-not-exist.invalid/postgres"
    ));
    let error = refusal(&unknown).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_says(&error, &["host.does-not-exist.invalid"]);
}

#[tokio::test]
async fn server_that_says_nothing_is_unavailable_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let place = Place::at(format!(
        "postgres://postgres:{SECRET}@127.0.0.1:{port}/postgres"
    ));
    let error = refusal(&place).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn urls_that_make_no_sense_are_invalid() {
    for url in [
        format!("postgres://postgres:{SECRET}@127.0.0.1:port/postgres"),
        format!("mysql://postgres:{SECRET}@127.0.0.1/postgres"),
        format!("postgres://postgres:{SECRET}@127.0.0.1/postgres?no_such_parameter=1"),
        format!("host=127.0.0.1 password={SECRET} port"),
        String::new(),
    ] {
        let error = refusal(&Place::at(url.clone())).await;
        assert!(
            matches!(error, StoreError::Invalid { .. }),
            "{url:?}: {error:?}"
        );
        one_line(&error);
    }
}

#[tokio::test]
async fn newer_schema_is_refused_and_left_alone() {
    let place = Place::with_database().await;
    place.store().await.close().await;
    let outsider = place.outsider().await;
    outsider
        .batch_execute("UPDATE meta SET value = '7777' WHERE key = 'schema_version'")
        .await
        .expect("a later schema");
    let error = refusal(&place).await;
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert_says(&error, &["7777 is newer than"]);
    let version = "SELECT value::bigint FROM meta WHERE key = 'schema_version'";
    assert_eq!(
        outsider
            .query_one(version, &[])
            .await
            .expect("a version")
            .get::<_, i64>(0),
        7777
    );
}

/// A program of the first schema works while a newer one migrates the schema.
#[tokio::test]
async fn program_of_the_first_schema_goes_on_beside_the_second() {
    let place = Place::with_database().await;
    let older = place.outsider().await;
    let schema = place.schema();
    let first = include_str!("../src/schema/1.sql");
    older
        .batch_execute(&format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema}; {first}"
        ))
        .await
        .expect("the first schema");
    let step = "SELECT outcome FROM step('f', $1, $2, $3, -1, -1, ARRAY['partitions'], ARRAY['4'])";
    let step = older
        .prepare(step)
        .await
        .expect("a statement of the first schema");
    let insert = "SELECT outcomes FROM append(false, '{f}', '{1}', $1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        '{}', '{}', '{}', '{}', '{1}', $1, '{c}', '{-1}', '{1}', '{0}', '{1}', '{1}', $1, '{c}', '{n}', '{1}', '{1}',
        '{1970-01-01}', '{\"\"}', '{\"\"}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')";
    let insert = older
        .prepare(insert)
        .await
        .expect("a statement of the first schema");
    let upstream = uuid::Uuid::new_v4();
    let outcome: i32 = older
        .query_one(&step, &[&upstream, &0_i64, &3_i64])
        .await
        .expect("a step")
        .get(0);
    assert_eq!(outcome, 0);
    older
        .query_one(&insert, &[&vec![uuid::Uuid::new_v4()]])
        .await
        .expect("an append");

    let newer = place.store().await;
    let notes = NotesQuery::new("f".into(), LogId::from_uuid(upstream), "");
    let before = newer.notes(notes.clone()).await.expect("notes");
    assert_eq!(
        (
            before.position.as_u64(),
            before.partitions,
            before.last_event
        ),
        (3, Some(4), None)
    );
    let outcome: i32 = older
        .query_one(&step, &[&upstream, &3_i64, &7_i64])
        .await
        .expect("a step")
        .get(0);
    let outcomes: Vec<i32> = older
        .query_one(&insert, &[&vec![uuid::Uuid::new_v4()]])
        .await
        .expect("an append")
        .get(0);
    assert_eq!(
        (outcome, outcomes),
        (0, vec![0]),
        "the older program goes on"
    );
    assert_eq!(
        newer.notes(notes).await.expect("notes").position.as_u64(),
        7
    );
    newer
        .append(append())
        .await
        .expect("the newer program goes on");
    assert_eq!(log_of(&newer).await.len(), 3);
}

/// An append of the first schema with a command; without an event it keeps a rejection. `$1` is the command, `$2` the
/// streams.
const FIRST_SCHEMA_COMMAND: &str = "
    SELECT outcomes[1], numbers[1] FROM append(false, '{f}', '{1}', ARRAY[$1::uuid], '{}', '{}', '{}', '{}', '{}', '{}',
        '{}', '{}', '{}', '{}', '{}', '{}', array_fill(1, ARRAY[cardinality($2::uuid[])]), $2::uuid[],
        array_fill('c'::text, ARRAY[cardinality($2::uuid[])]), array_fill(-1::bigint, ARRAY[cardinality($2::uuid[])]),
        array_fill(1, ARRAY[cardinality($2::uuid[])]), array_fill(0, ARRAY[cardinality($2::uuid[])]),
        array_fill(1, ARRAY[cardinality($2::uuid[])]), array_fill(1, ARRAY[cardinality($2::uuid[])]), $2::uuid[],
        array_fill('c'::text, ARRAY[cardinality($2::uuid[])]), array_fill('n'::text, ARRAY[cardinality($2::uuid[])]),
        array_fill(1, ARRAY[cardinality($2::uuid[])]), array_fill(1::smallint, ARRAY[cardinality($2::uuid[])]),
        array_fill('epoch'::timestamptz, ARRAY[cardinality($2::uuid[])]),
        array_fill(''::bytea, ARRAY[cardinality($2::uuid[])]), array_fill(''::bytea, ARRAY[cardinality($2::uuid[])]),
        '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')";

/// Each program understands the rejections and receipts of the other one.
#[tokio::test]
async fn receipts_of_the_first_and_the_second_schema_are_understood_by_both_programs() {
    let place = Place::with_database().await;
    let older = place.outsider().await;
    let schema = place.schema();

    let first = include_str!("../src/schema/1.sql");
    let create = format!("CREATE SCHEMA {schema}; SET search_path = {schema}; {first}");
    older
        .batch_execute(&create)
        .await
        .expect("the first schema");
    let append_as_older = older
        .prepare(FIRST_SCHEMA_COMMAND)
        .await
        .expect("a statement of the first schema");
    let by_older = async |command: CommandId, events: usize| {
        let streams: Vec<_> = (0..events).map(|_| uuid::Uuid::new_v4()).collect();
        let row = older
            .query_one(&append_as_older, &[&command.as_uuid(), &streams])
            .await
            .expect("an append");
        (row.get::<_, i32>(0), row.get::<_, i64>(1))
    };
    let commands: [CommandId; 4] = std::array::from_fn(|_| CommandId::new());
    assert_eq!(
        (
            by_older(commands[0], 0).await,
            by_older(commands[1], 1).await
        ),
        ((0, 0), (0, 1))
    );

    let newer = place.store().await;
    assert_eq!(
        (
            by_older(commands[2], 0).await,
            by_older(commands[3], 1).await
        ),
        ((0, 0), (0, 2)),
        "it goes on"
    );
    let log = newer.log_id();
    for (command, kind, position) in [
        (commands[0], ReceiptKind::Rejected, 0),
        (commands[1], ReceiptKind::Recorded, 1),
        (commands[2], ReceiptKind::Rejected, 0),
        (commands[3], ReceiptKind::Recorded, 2),
    ] {
        let receipt = Receipt {
            log,
            kind,
            position: Position::new(position),
            command_id: Some(command),
        };
        assert_eq!(
            newer.receipt(command).await.expect("an answer"),
            Some(receipt)
        );
        let again = newer
            .append(append().with_command_id(command))
            .await
            .expect("the first receipt");
        assert_eq!((again.receipt, again.repeated), (receipt, true));
    }
    let rejected = CommandId::new();
    let nothing = CommandId::new();

    let empty = || Append::new(jiff::Timestamp::UNIX_EPOCH);
    let answer = newer
        .append(empty().with_rejected_command(rejected))
        .await
        .expect("it is kept")
        .receipt;
    assert_eq!(
        (answer.kind, answer.position),
        (ReceiptKind::Rejected, Position::new(2))
    );
    newer
        .append(empty().with_command_id(nothing))
        .await
        .expect("it is remembered");
    assert_eq!(
        by_older(rejected, 1).await,
        (1, 0),
        "by position 0 the older program knows a rejection"
    );
    assert_eq!(
        by_older(nothing, 1).await,
        (1, 2),
        "and what was carried out by any other"
    );
    let receipts = "SELECT position FROM receipts WHERE command_id = $1";
    let position: i64 = older
        .query_one(receipts, &[&rejected.as_uuid()])
        .await
        .expect("a receipt")
        .get(0);
    assert_eq!(position, 0);
    assert_eq!(log_of(&newer).await.len(), 2);
}

/// Three commands of a program of the second schema: one that records an event in a stream of its own, one that records nothing, and
/// one that is rejected. `$1` the commands, `$2` the stream.
const SECOND_SCHEMA_COMMANDS: &str = "
    SELECT outcomes, numbers, places FROM append(
        alone => false, waits => '{f,f,f}', command_appends => '{1,2,3}', command_ids => $1,
        step_appends => '{}', step_followers => '{}', step_upstreams => '{}', step_starts => '{}', step_ends => '{}',
        step_leases => '{}', step_revisions => '{}', note_appends => '{}', note_followers => '{}',
        note_upstreams => '{}', note_keys => '{}', note_values => '{}',
        part_appends => '{1}', part_stream_ids => ARRAY[$2::uuid], part_categories => '{c}',
        part_expected => '{-1}', part_events => '{1}', part_before => '{0}',
        event_parts => '{1}', event_numbers => '{1}', event_stream_ids => ARRAY[$2::uuid],
        event_categories => '{c}', event_names => '{n}', event_schema_versions => '{1}',
        event_codecs => '{0}', event_recorded_at => '{epoch}', event_metadata => ARRAY[''::bytea],
        event_payloads => ARRAY[''::bytea],
        snapshot_appends => '{}', snapshot_places => '{}', snapshot_stream_ids => '{}', snapshot_categories => '{}',
        snapshot_fingerprints => '{}', snapshot_versions => '{}', snapshot_codecs => '{}', snapshot_payloads => '{}',
        snapshot_added => '{}', command_kinds => '{0,1,2}')";

/// A program of the second schema is at work while a newer one brings the schema up to date, and each understands what the other one
/// has answered, also commands that have shared an append.
#[tokio::test]
async fn program_of_the_second_schema_goes_on_beside_the_third() {
    let place = Place::with_database().await;
    let older = place.outsider().await;
    let schema = place.schema();
    let scripts = [
        include_str!("../src/schema/1.sql"),
        include_str!("../src/schema/2.sql"),
    ];
    let create = format!("CREATE SCHEMA {schema}; SET search_path = {schema};");
    for script in [create.as_str()].into_iter().chain(scripts) {
        older
            .batch_execute(script)
            .await
            .expect("the second schema");
    }
    let append_as_older = older
        .prepare(SECOND_SCHEMA_COMMANDS)
        .await
        .expect("a statement of the second schema");
    let by_older = async |commands: [CommandId; 3]| {
        let commands = commands.map(CommandId::as_uuid).to_vec();
        let row = older
            .query_one(&append_as_older, &[&commands, &uuid::Uuid::new_v4()])
            .await
            .expect("an append");
        (
            row.get::<_, Vec<i32>>(0),
            row.get::<_, Vec<i64>>(1),
            row.get::<_, Vec<i32>>(2),
        )
    };
    let commands: [[CommandId; 3]; 3] =
        std::array::from_fn(|_| std::array::from_fn(|_| CommandId::new()));
    by_older(commands[0]).await;
    let newer = place.store().await;
    let (outcomes, numbers, _) = by_older(commands[1]).await;
    assert_eq!(
        (outcomes, numbers),
        (vec![0, 0, 0], vec![2, 1, 1]),
        "it goes on: without an event a command stands for what was there"
    );
    for (commands, positions) in [(commands[0], [1, 0, 0]), (commands[1], [2, 1, 1])] {
        let kinds = [
            ReceiptKind::Recorded,
            ReceiptKind::NothingRecorded,
            ReceiptKind::Rejected,
        ];
        for ((command, kind), position) in commands.into_iter().zip(kinds).zip(positions) {
            let receipt = Receipt {
                log: newer.log_id(),
                kind,
                position: Position::new(position),
                command_id: Some(command),
            };
            assert_eq!(
                newer.receipt(command).await.expect("an answer"),
                Some(receipt)
            );
        }
    }

    let answers = [
        SharedAnswer::Recorded { last_event: 0 },
        SharedAnswer::NothingRecorded,
        SharedAnswer::Rejected,
    ];
    let shared = commands[2].into_iter().zip(answers);
    let shared = shared.map(|(id, answer)| SharedCommand { id, answer });
    let written = newer
        .append(append().with_shared_commands(shared.collect()))
        .await
        .expect("the commands are new");
    let positions = written.shared.iter().map(|receipt| receipt.position);
    assert_eq!(
        positions.collect::<Vec<_>>(),
        [Position::new(3), Position::new(3), Position::new(3)]
    );
    assert_eq!(
        by_older(commands[2]).await,
        (vec![1, 1, 1], vec![3, 3, 3], vec![0, 1, 2]),
        "the older program gets the first receipts"
    );
    assert_eq!(log_of(&newer).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_make_one_store() {
    for _ in 0..3 {
        let place = Place::new();
        let opening = (0..12).map(|_| {
            let options = place.options();
            let url = place.url().to_owned();

            tokio::spawn(async move {
                let store = options.connect(&url).await.expect("a store");
                store.append(append()).await.expect("a receipt");
                store.log_id()
            })
        });
        let mut ids = HashSet::new();
        for store in opening.collect::<Vec<_>>() {
            ids.insert(
                timeout(Duration::from_secs(30), store)
                    .await
                    .expect("no opening hangs")
                    .expect("a task"),
            );
        }
        assert_eq!(ids.len(), 1, "all have opened the same log");
        assert_eq!(log_of(&place.store().await).await.len(), 12);
    }
}

#[tokio::test]
async fn stores_in_two_schemas_of_one_database_are_two_logs() {
    let one = Place::new();
    let other = Place::new();

    let one = one.store().await;
    let other = other.store().await;

    one.append(append()).await.expect("a receipt");
    assert_ne!(one.log_id(), other.log_id());
    assert_eq!(
        (log_of(&one).await.len(), log_of(&other).await.len()),
        (1, 0)
    );
}

#[tokio::test]
async fn unusual_schema_names_are_only_names() {
    let database = Place::with_database().await;
    let innocent = connect(database.url()).await;
    innocent
        .batch_execute("CREATE TABLE public.innocent ()")
        .await
        .expect("a table");
    for schema in [
        "Upper Case",
        "quote\"d",
        "select",
        "ünïcödé",
        "a'; DROP TABLE public.innocent; --",
        "$1",
    ] {
        let store = match eventsourcing_postgres::PostgresOptions::new()
            .with_schema(schema)
            .connect(database.url())
            .await
        {
            Ok(store) => store,
            // A store may refuse names, as long as it says so.
            Err(StoreError::Invalid { reason }) => {
                assert!(reason.contains("schema"), "{reason}");
                continue;
            }
            Err(error) => panic!("schema {schema:?}: {error:?}"),
        };
        store.append(append()).await.expect("a receipt");
        assert_eq!(log_of(&store).await.len(), 1, "schema {schema:?}");
        store.close().await;
    }
    innocent
        .batch_execute("SELECT FROM public.innocent")
        .await
        .expect("the table is still there");
}

#[tokio::test]
async fn foreign_tables_are_left_alone() {
    let place = Place::with_database().await;
    let outsider = place.outsider().await;
    let foreign =
        "CREATE TABLE public.events (what text); INSERT INTO public.events VALUES ('theirs')";
    outsider
        .batch_execute(foreign)
        .await
        .expect("a foreign table");
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    store.close().await;
    let kept = "SELECT count(*) FROM public.events WHERE what = 'theirs'";
    assert_eq!(
        outsider
            .query_one(kept, &[])
            .await
            .expect("a number")
            .get::<_, i64>(0),
        1
    );
    let strangers = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', $1) AND relname <> 'events'";
    let strangers: i64 = outsider
        .query_one(strangers, &[&place.schema()])
        .await
        .expect("a number")
        .get(0);
    assert_eq!(strangers, 0, "everything of the store is in its schema");
}

#[tokio::test]
async fn foreign_table_of_our_name_in_our_schema_is_refused_and_left_alone() {
    let place = Place::new();
    let outsider = place.outsider().await;
    let schema = place.schema();
    let foreign = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.events (theirs text)");
    outsider
        .batch_execute(&foreign)
        .await
        .expect("a foreign table");
    let error = refusal(&place).await;
    assert!(
        matches!(
            error,
            StoreError::Corrupt { .. } | StoreError::Invalid { .. }
        ),
        "{error:?}"
    );
    one_line(&error);
    let relations = "SELECT count(*) FROM pg_class WHERE relnamespace = $1::text::regnamespace";
    assert_eq!(
        outsider
            .query_one(relations, &[&schema])
            .await
            .expect("a number")
            .get::<_, i64>(0),
        1
    );
}

#[tokio::test]
async fn reopened_store_is_the_same_log() {
    let place = Place::new();
    let store = place.store().await;
    let written = store.append(append()).await.expect("a receipt");
    let id = store.log_id();
    store.close().await;

    let store = place.store().await;
    assert_eq!(store.log_id(), id);
    assert_eq!(
        store.head().await.expect("a head"),
        written.receipt.position
    );
    let next = store.append(append()).await.expect("a receipt");
    assert!(next.receipt.position > written.receipt.position);
}

#[tokio::test]
async fn closed_store_leaves_no_connection_behind() {
    let place = Place::with_database().await;
    let outsider = place.outsider().await;
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    store.head().await.expect("a head");
    store.close().await;
    wait_until_alone(&outsider).await;

    let dropped = PostgresStore::connect(place.url()).await.expect("a store");
    dropped.append(append()).await.expect("a receipt");
    drop(dropped);
    wait_until_alone(&outsider).await;
}

async fn wait_until_alone(outsider: &tokio_postgres::Client) {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let waiting = async {
        while outsider
            .query_one(others, &[])
            .await
            .expect("a number")
            .get::<_, i64>(0)
            > 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting)
        .await
        .expect("no connection is left behind");
}

#[tokio::test]
async fn tls_that_is_required_is_not_done_without() {
    let server = guarded_server();
    let url = format!(
        "{}?sslmode=require",
        server.url_of(&format!("postgres:{SECRET}"), "postgres")
    );
    assert_says(&refusal(&Place::at(url)).await, &["tls", "ssl"]);
}

/// Returns a self-signed certificate for `localhost` and its key.
fn certificate() -> (String, String) {
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (certified.cert.pem(), certified.signing_key.serialize_pem())
}

#[tokio::test]
async fn connections_are_encrypted_where_that_is_asked_for() {
    let (certificate, key) = certificate();
    let settings = [
        FORGETFUL,
        &[
            "ssl = on",
            "ssl_cert_file = '../server.crt'",
            "ssl_key_file = '../server.key'",
        ],
    ];
    let files = [
        ("server.crt", certificate.as_str()),
        ("server.key", key.as_str()),
    ];
    let server = Server::start_with_files(&settings.concat(), &files);
    let outsider = connect(&server.url("postgres")).await;

    let base = server.url("postgres").replace("127.0.0.1", "localhost");
    let required = Place::at(format!("{base}?sslmode=require"));
    let store = required.store().await;
    store.append(append()).await.expect("a receipt");
    assert_eq!(log_of(&store).await.len(), 1);
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE NOT ssl AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    assert_eq!(
        outsider
            .query_one(plain, &[])
            .await
            .expect("a number")
            .get::<_, i64>(0),
        0,
        "all are encrypted"
    );
    store.close().await;

    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root.crt");
    std::fs::write(&root, &certificate).expect("a certificate");
    let verified = Place::at(format!(
        "{base}?sslmode=verify-full&sslrootcert={}",
        root.display()
    ));
    let store = verified.store().await;
    store.append(append()).await.expect("a receipt");
    store.close().await;

    let (stranger, _) = self::certificate();
    std::fs::write(&root, stranger).expect("a certificate");
    let distrusted = Place::at(format!(
        "{base}?sslmode=verify-full&sslrootcert={}",
        root.display()
    ));
    assert_says(&refusal(&distrusted).await, &["certificate"]);
    let misnamed = base.replace("localhost", "127.0.0.1");
    std::fs::write(&root, &certificate).expect("a certificate");
    let misnamed = Place::at(format!(
        "{misnamed}?sslmode=verify-full&sslrootcert={}",
        root.display()
    ));
    assert_says(&refusal(&misnamed).await, &["certificate"]);
}
