//! The work of the server: every read finds its rows by an index, and needs one round trip.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use eventsourcing_core::store::{
    Append, AuditStore, CommandId, EventStore, Expected, FollowerStore, HolderId, Lease,
    LeaseRequest, Load, LogChecksumsQuery, LogQuery, Name, NotesQuery, Position, Revision,
    StreamId, StreamQuery, Tracking, Version,
};
use eventsourcing_core::{Aggregate, Application, event as events};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use support::proxy::Proxy;
use support::server::FORGETFUL;
use support::{Place, Server, append_to, event, reads_of, snapshot, stream};
use tokio_postgres::Client;
use uuid::Uuid;

/// Enough rows that scanning a table is the wrong plan, for every setting of the planner.
const FILL: &str = "
    INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
    SELECT lpad(to_hex(stream), 32, '0')::uuid, (ARRAY['account', 'order', 'user'])[1 + stream % 3], version,
           (ARRAY['opened', 'deposited'])[1 + version % 2], 1, 0, now(), '', convert_to(repeat('x', 60), 'UTF8')
    FROM generate_series(1, 2000) AS stream, generate_series(1, 30) AS version
    ORDER BY stream, version;
    INSERT INTO snapshots (stream_id, category, fingerprint, version, codec, payload)
    SELECT lpad(to_hex(stream), 32, '0')::uuid, (ARRAY['account', 'order', 'user'])[1 + stream % 3], 7, version, 0, ''
    FROM generate_series(1, 2000) AS stream, generate_series(10, 30, 10) AS version;
    INSERT INTO tracking (follower, upstream, position, revision)
    SELECT 'follower ' || number, lpad(to_hex(number), 32, '0')::uuid, number, number
    FROM generate_series(1, 5000) AS number;
    INSERT INTO notes (follower, upstream, key, value)
    SELECT 'follower ' || number, lpad(to_hex(number), 32, '0')::uuid, kind || note, 'value'
    FROM generate_series(1, 1000) AS number, generate_series(1, 10) AS note, unnest('{parked/,timer/}'::text[]) AS kind;
    INSERT INTO leases (follower, upstream, holder, token, until)
    SELECT 'follower ' || number, lpad(to_hex(number), 32, '0')::uuid, gen_random_uuid(), 1, 'infinity'
    FROM generate_series(1, 5000) AS number;
    INSERT INTO receipts (command_id, position)
    SELECT lpad(to_hex(number), 32, '0')::uuid, number FROM generate_series(1, 20000) AS number;
    ANALYZE";

/// The statements of each read, and of the check before a write, with arguments from the middle of the tables.
const READS: &[(&str, &str)] = &[
    ("checksums.sql", "30000, 40000, '{account,user}', '{opened}', false"),
    ("lease_holder.sql", "'follower 999', '00000000-0000-0000-0000-0000000003e7'"),
    (
        "append_to_stream.sql",
        "'00000000-0000-0000-0000-0000000003e7', 'account', 25, '{26}', '{Opened}', '{1}', '{0}', '2026-01-01',
         '{\\\\x}', '{\\\\x}'",
    ),
    (
        "append_to_streams.sql",
        "'{00000000-0000-0000-0000-0000000003e7}', '{account}', '{25}',
         '{00000000-0000-0000-0000-0000000003e7}', '{account}', '{26}', '{Opened}', '{1}', '{0}', '{2026-01-01}',
         '{\\\\x}', '{\\\\x}'",
    ),
    ("followers.sql", "'follower 999', '00000000-0000-0000-0000-0000000003e7', 500"),
    ("load.sql", "'00000000-0000-0000-0000-0000000003e7', 'account', 5, 25, 10"),
    ("load_with_snapshot.sql", "'00000000-0000-0000-0000-0000000003e7', 'account', 0, 25, 10, 7"),
    ("log.sql", "30000, 60000, 500"),
    ("log_filtered.sql", "30000, 60000, 500, '{account,user}', '{opened}'"),
    ("log_first_of_stream.sql", "30000, 60000, 500, '{account}', '{}'"),
    ("newest.sql", ""),
    ("sequence.sql", ""),
    ("notes.sql", "'follower 999', '00000000-0000-0000-0000-0000000003e7', 'parked/', 'parked/2', 5"),
    ("receipt.sql", "'00000000-0000-0000-0000-0000000003e7'"),
    ("receipts.sql", "'00000000-0000-0000-0000-0000000003e7', 500"),
    ("seen.sql", "59000, 500"),
    ("stream_backwards.sql", "'00000000-0000-0000-0000-0000000003e7', 'account', 5, 9223372036854775807, 20"),
    ("stream_forwards.sql", "'00000000-0000-0000-0000-0000000003e7', 'account', 5, 9223372036854775807, 20"),
    ("tracking.sql", "'follower 999', '00000000-0000-0000-0000-0000000003e7'"),
];
/// The statements that read no growing table. The second test covers the statements within `append()` and `step()`.
const OTHERS: &[&str] = &[
    "acknowledged.sql",
    "append.sql",
    "holders.sql",
    "listen.sql",
    "lock_schema.sql",
    "log_holders.sql",
    "meta.sql",
    "meta_exists.sql",
    "notify.sql",
    "release_lease.sql",
    "session.sql",
    "session_is_known.sql",
    "session_of_database.sql",
    "step.sql",
    "take_lease.sql",
    "wait_for_standbys.sql",
];

fn queries() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queries");
    let files = std::fs::read_dir(folder)
        .expect("the statements")
        .map(|file| file.expect("a file").path());
    let named = files.map(|path| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, std::fs::read_to_string(&path).expect("a statement"))
    });
    named.collect()
}

async fn filled(place: &Place) -> Client {
    place.store().await.close().await;
    let outsider = place.outsider().await;
    outsider
        .batch_execute(FILL)
        .await
        .expect("the tables are filled");
    outsider
}

#[tokio::test]
async fn every_read_finds_its_rows_by_an_index() {
    let place = Place::new();
    let outsider = filled(&place).await;
    let mut queries = queries();
    for other in OTHERS {
        queries
            .remove(*other)
            .unwrap_or_else(|| panic!("there is no {other} any more"));
    }
    for (name, parameters) in READS {
        let query = queries
            .remove(*name)
            .unwrap_or_else(|| panic!("there is no {name} any more"));
        // The planner chooses the first plan when it knows the values, the second without them.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let prepare = format!("SET plan_cache_mode = {mode}; PREPARE read AS {query}");
            outsider
                .batch_execute(&prepare)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let arguments = if parameters.is_empty() {
                String::new()
            } else {
                format!("({parameters})")
            };
            let explain = format!("EXPLAIN (COSTS OFF) EXECUTE read{arguments}");
            let plan = outsider
                .query(&explain, &[])
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let plan: Vec<String> = plan.into_iter().map(|line| line.get(0)).collect();
            let plan = plan.join("\n");
            assert!(plan.contains("Index"), "{name}, {mode}:\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{name}, {mode}:\n{plan}");
            let is_bounded = !name.starts_with("append_to_stream") || plan.contains("version >= ");
            assert!(
                is_bounded,
                "{name}, {mode}: a look at a head reads a page of its stream\n{plan}"
            );
            outsider
                .batch_execute("DEALLOCATE read")
                .await
                .expect("a prepared statement");
        }
    }
    let names: Vec<_> = queries.into_keys().collect();
    assert!(
        names.is_empty(),
        "statements whose plans no test checks: {names:?}"
    );
}

#[tokio::test]
async fn nothing_a_store_does_scans_a_table() {
    let place = Place::with_database().await;
    let outsider = filled(&place).await;
    let before = scans(&outsider).await;
    let store = place.store().await;
    let stream = StreamId::new("order", Uuid::from_u128(1000));
    let follower = Name::from_static("follower");
    let upstream = store.log_id();

    for number in 0..20_u64 {
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
        let step = Tracking::new(
            follower.clone(),
            upstream,
            Position::new(number),
            Position::new(number + 1),
        )
        .with_lease(token)
        .with_revision(Revision::new(2 * number))
        .with_note("parked/1", "value")
        .without_note("parked/2");
        let append = Append::new(Timestamp::UNIX_EPOCH)
            .with_events(
                stream.clone(),
                Expected::Exact(Version::new(30 + number)),
                vec![event("{}")],
            )
            .with_command_id(CommandId::new())
            .with_snapshot(snapshot(&stream, 30 + number))
            .with_tracking(step);
        store.append(append.clone()).await.expect("a receipt");
        assert!(store.append(append).await.expect("a receipt").repeated);
        let in_place = Tracking::new(
            follower.clone(),
            upstream,
            Position::new(number + 1),
            Position::new(number + 1),
        );
        let mut transaction = store
            .database()
            .expect("a database")
            .begin()
            .await
            .expect("a transaction");
        let step = in_place
            .with_lease(token)
            .with_note("parked/2", "value")
            .without_note("parked/1");
        transaction
            .step(&step)
            .await
            .expect("the follower is there");
        transaction.commit().await.expect("it is committed");
        let notes = NotesQuery::new(follower.clone(), upstream, "parked/").limit(5);
        assert_eq!(store.notes(notes).await.expect("notes").notes.len(), 1);
        assert!(
            store
                .lease_holder(&follower, upstream)
                .await
                .expect("an answer")
                .is_some()
        );
        store
            .release(&follower, upstream, token)
            .await
            .expect("the lease is given back");
        let checksums = LogChecksumsQuery::new(Position::new(30_000), Position::new(30_100));
        for query in [checksums.clone(), checksums.categories(["order"])] {
            assert_eq!(store.checksums(query).await.expect("figures").len(), 1);
        }
        let loaded = store.load(reads_of(&stream).0).await.expect("a state");
        assert_eq!(loaded.events.len(), 1);
        let fully = Load::new(stream.clone());
        assert_eq!(
            store.load(fully).await.expect("a state").events.len(),
            31 + number as usize
        );
        for query in [
            StreamQuery::new(stream.clone()).limit(5),
            StreamQuery::new(stream.clone()).backwards().limit(5),
        ] {
            assert_eq!(store.read_stream(query).await.expect("a stream").len(), 5);
        }
        let halfway = LogQuery::after(Position::new(30_000)).limit(50);
        for query in [
            halfway.clone(),
            halfway.clone().categories(["order"]),
            halfway.first_of_stream(),
        ] {
            assert!(
                !store
                    .read_log(query)
                    .await
                    .expect("a page")
                    .events
                    .is_empty()
            );
        }
        store.head().await.expect("a head");
        store.receipt(CommandId::new()).await.expect("an answer");
        store
            .tracking(&Name::from_static("follower"), store.log_id())
            .await
            .expect("a position");
    }
    store.close().await;
    let after = scans_once_all_have_left(&outsider).await;
    assert_eq!(before, after, "how often each table was scanned");
}

async fn scans(outsider: &Client) -> Vec<(String, i64)> {
    let scans = "SELECT relname::text, seq_scan FROM pg_stat_user_tables
        WHERE relname IN ('events', 'snapshots', 'tracking', 'notes', 'leases', 'receipts') ORDER BY relname";
    let force = "SELECT pg_stat_force_next_flush()";
    if outsider
        .query_one(
            "SELECT to_regproc('pg_stat_force_next_flush') IS NOT NULL",
            &[],
        )
        .await
        .expect("it")
        .get(0)
    {
        outsider
            .batch_execute(force)
            .await
            .expect("numbers up to date");
    }
    let rows = outsider.query(scans, &[]).await.expect("numbers");
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(rows.len(), 6, "{rows:?}");
    rows
}

/// Connections report their statistics when they end, at the latest.
async fn scans_once_all_have_left(outsider: &Client) -> Vec<(String, i64)> {
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    for _ in 0..500 {
        if outsider
            .query_one(others, &[])
            .await
            .expect("a number")
            .get::<_, i64>(0)
            == 0
        {
            return scans(outsider).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a closed store has left connections behind");
}

/// Returns the number of round trips on connections that carry `mark`, since `before`.
fn round_trips_of(proxy: &Proxy, mark: &[u8], before: usize) -> usize {
    let requests = proxy.requests();
    let of_mark: Vec<_> = requests[before..]
        .iter()
        .filter(|request| request.contains(mark))
        .collect();
    let connections: std::collections::BTreeSet<_> =
        of_mark.iter().map(|request| request.connection).collect();
    requests[before..]
        .iter()
        .filter(|request| connections.contains(&request.connection))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_and_append_are_one_round_trip_each() {
    const CALLS: usize = 20;

    let server = Server::start(FORGETFUL);
    let proxy = Proxy::before(server.port()).await;
    let place = Place::at(proxy.url("postgres", "postgres"));
    let store = place
        .options()
        .with_readers(1)
        .with_writers(1)
        .connect(place.url())
        .await
        .expect("a store");
    let stream = stream();
    for _ in 0..5 {
        store
            .append(append_to(&stream, Expected::Any))
            .await
            .expect("a receipt");
    }
    store
        .append(append_to(&stream, Expected::Any).with_snapshot(snapshot(&stream, 4)))
        .await
        .expect("a receipt");
    store.load(reads_of(&stream).0).await.expect("a state");

    let before = proxy.requests().len();
    for _ in 0..CALLS {
        let loaded = store.load(reads_of(&stream).0).await.expect("a state");
        assert_eq!(
            (
                loaded.snapshot.expect("a snapshot").version,
                loaded.events.len()
            ),
            (Version::new(4), 2)
        );
    }
    let loads = round_trips_of(&proxy, stream.id.as_bytes(), before);
    assert_eq!(loads, CALLS, "round trips of {CALLS} loads");

    let before = proxy.requests().len();
    for _ in 0..CALLS {
        store
            .append(append_to(&stream, Expected::Any).with_command_id(CommandId::new()))
            .await
            .expect("a receipt");
    }
    let appends = round_trips_of(&proxy, stream.id.as_bytes(), before);
    assert_eq!(appends, CALLS, "round trips of {CALLS} appends");
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Counter {
    count: u32,
}

#[events]
impl Counter {
    fn started() -> Self {
        Self { count: 0 }
    }
    fn counted(&mut self) {
        self.count += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_on_a_cached_aggregate_is_one_round_trip_in_all() {
    const COMMANDS: usize = 20;

    let server = Server::start(FORGETFUL);
    let proxy = Proxy::before(server.port()).await;
    let place = Place::at(proxy.url("postgres", "postgres"));
    let store = place
        .options()
        .with_readers(1)
        .with_writers(1)
        .connect(place.url())
        .await
        .expect("a store");
    let app = Application::new("counters", store);
    let counter = app
        .create(|| CounterEvent::Started)
        .await
        .expect("a counter")
        .id;
    let count = async || {
        app.update(counter, |_| CounterEvent::Counted)
            .await
            .expect("a receipt")
    };
    for _ in 0..5 {
        count().await;
    }

    let before = proxy.requests().len();
    for _ in 0..COMMANDS {
        count().await;
    }
    let round_trips = round_trips_of(&proxy, counter.as_uuid().as_bytes(), before);
    assert_eq!(round_trips, COMMANDS, "round trips of {COMMANDS} commands");
    assert_eq!(app.load(counter).await.expect("the counter").count, 25);
}
