//! A dump that is restored into another cluster is the same log and continues it. Promises P6, P19 and P22.

mod support;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, FollowerNotes, FollowerStore, LogQuery, Name,
    NotesQuery, Position, Revision, StoreError, Tracking, Version,
};
use jiff::Timestamp;
use support::server::{FORGETFUL, program};
use support::{
    Place, Server, append, append_to, connect, event, log_of, reads_of, snapshot, stream,
};
use tokio::task::block_in_place;

/// Copies the whole database with `pg_dump` and `psql`, which stops at the first error.
fn copy(from: &str, to: &str) {
    let dump = program("pg_dump")
        .args(["--dbname", from])
        .output()
        .expect("pg_dump runs");
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, dump.stdout).expect("a file");
    let options = [
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--dbname",
        to,
        "--file",
    ];
    let restore = program("psql")
        .args(options)
        .arg(&file)
        .output()
        .expect("psql runs");
    assert!(
        restore.status.success(),
        "{}",
        String::from_utf8_lossy(&restore.stderr)
    );
}

/// Uses up transaction numbers, so that those of the transactions that wrote the log do not soon recur in a new
/// cluster.
const SPEND_TRANSACTIONS: &str = "
    CREATE TEMPORARY TABLE spent ();
    DO $$ BEGIN
        FOR number IN 1..5000 LOOP
            BEGIN INSERT INTO spent DEFAULT VALUES; EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP;
    END $$";

fn step(store: &impl FollowerStore, from: Position, to: Position) -> Tracking {
    Tracking::new(Name::from_static("mailer"), store.log_id(), from, to)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_dump_goes_on_where_it_was() {
    let old = Server::start(FORGETFUL);
    let new = Server::start(FORGETFUL);

    connect(&old.url("postgres"))
        .await
        .batch_execute(SPEND_TRANSACTIONS)
        .await
        .expect("transactions");
    let before = Place::on(&old);
    let store = before.store().await;
    let stream = stream();

    for _ in 0..20 {
        store
            .append(append_to(&stream, Expected::Any))
            .await
            .expect("a receipt");
    }
    let command = append().with_command_id(CommandId::new());
    let receipt = store
        .append(command.clone())
        .await
        .expect("a receipt")
        .receipt;
    let halfway = Position::new(10);
    let first = step(&store, Position::ZERO, halfway).with_note("parked/1", "why");
    let mut last = Append::new(Timestamp::UNIX_EPOCH).with_tracking(first);
    last = last.with_events(
        stream.clone(),
        Expected::Exact(Version::new(20)),
        vec![event("tracked")],
    );
    store
        .append(last.with_snapshot(snapshot(&stream, 15)))
        .await
        .expect("a receipt");
    let late = before.outsider().await;
    support::by_hand::begin_append(&late, "account", "never").await;
    support::by_hand::roll_back(&late).await;
    let log = log_of(&store).await;
    let id = store.log_id();
    let head = store.head().await.expect("a head");

    let loaded = store.load(reads_of(&stream).0).await.expect("a state");

    block_in_place(|| copy(&old.url("postgres"), &new.url("postgres")));
    store.close().await;
    let last_number = connect(&old.url("postgres"))
        .await
        .query_one("SELECT txid_current()", &[])
        .await;
    let last_number: i64 = last_number.expect("a number").get(0);
    drop(old);

    let transaction = "SELECT txid_current()";
    let number: i64 = connect(&new.url("postgres"))
        .await
        .query_one(transaction, &[])
        .await
        .expect("a number")
        .get(0);
    assert!(
        number < last_number,
        "the new cluster counts its transactions anew"
    );
    let after = before.moved_to(&new);
    let store = after.store().await;
    assert_eq!(
        (store.log_id(), store.head().await.expect("a head")),
        (id, head),
        "it is the same log"
    );
    assert_eq!(log_of(&store).await, log);
    assert_eq!(
        store.load(reads_of(&stream).0).await.expect("a state"),
        loaded
    );
    let again = store.append(command).await.expect("the first receipt");
    assert_eq!((again.receipt, again.repeated), (receipt, true));
    let follower = Name::from_static("mailer");
    assert_eq!(
        store.tracking(&follower, id).await.expect("a position"),
        halfway
    );
    let notebook = store
        .notes(NotesQuery::new(follower, id, ""))
        .await
        .expect("notes");
    let notes = [("parked/1".to_owned(), "why".to_owned())].into();
    assert_eq!(
        notebook,
        FollowerNotes {
            position: halfway,
            revision: Revision::new(1),
            notes,
            ..FollowerNotes::default()
        }
    );
    let stale =
        Append::new(Timestamp::UNIX_EPOCH).with_tracking(step(&store, Position::ZERO, head));
    let refused = store.append(stale).await;
    assert!(
        matches!(refused, Err(StoreError::TrackingConflict { actual, .. }) if actual == halfway),
        "{refused:?}"
    );

    let next = append_to(&stream, Expected::Exact(Version::new(21)))
        .with_tracking(step(&store, halfway, head));
    let written = store
        .append(next)
        .await
        .expect("a receipt")
        .receipt
        .position;
    assert!(written > head, "{written} is not beyond {head}");
    let page = store.read_log(LogQuery::after(head)).await.expect("a page");
    assert_eq!(
        (page.events.len(), page.ceiling),
        (1, written),
        "readers go on after where they were"
    );
    assert_eq!(
        store.wait_beyond(head, None).await.expect("a head"),
        written
    );
}
