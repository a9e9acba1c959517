//! The check of what a killed process has left: it passes a sound store, and notices one that has lost or torn an append.

use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, LogQuery, MemoryStore, Position, StreamId,
};
use eventsourcing_testing::crash::{
    Acknowledged, Kill, Writer, run_and_kill, this_test, write_until_killed,
};
use eventsourcing_testing::fixtures::event;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Set for a child process.
const CHILD: &str = "EVENTSOURCING_TEST_CHILD";

/// Writes this number of times with every writer.
async fn write(store: &MemoryStore, times: usize, acknowledged: &mut Acknowledged) {
    for _ in 0..times {
        for writer in Writer::all() {
            acknowledged.extend([writer.write(store, Duration::ZERO).await]);
        }
    }
}

/// Returns the message of the panic of a check.
async fn complaint(store: MemoryStore, acknowledged: Acknowledged) -> String {
    let check: JoinHandle<()> =
        tokio::spawn(async move { acknowledged.check(&store, "the context").await });
    let panic = check.await.expect_err("the fault is noticed").into_panic();
    *panic.downcast::<String>().expect("a message")
}

#[tokio::test]
async fn a_store_with_everything_passes() {
    let store = MemoryStore::new();
    let mut acknowledged = Acknowledged::default();
    write(&store, 5, &mut acknowledged).await;
    acknowledged.check(&store, "").await;
    // A process may be killed after the append and before the acknowledgement.
    write(&store, 1, &mut Acknowledged::default()).await;
    acknowledged.check(&store, "").await;
    assert_eq!(acknowledged.len(), 5 * Writer::all().count());
}

#[tokio::test]
async fn a_lost_append_is_noticed() {
    let store = MemoryStore::new();
    let mut acknowledged = Acknowledged::default();
    write(&store, 2, &mut acknowledged).await;
    let backup = store.backup();
    write(&store, 1, &mut acknowledged).await;
    store.restore(&backup);
    let complaint = complaint(store, acknowledged).await;
    assert!(
        complaint.contains("was acknowledged; the context"),
        "{complaint}"
    );
}

#[tokio::test]
async fn a_torn_append_is_noticed() {
    let store = MemoryStore::new();
    let shared = StreamId::new("shared", Uuid::nil());
    let half = event(format!("{} 2", CommandId::new()));
    let torn = Append::new(Timestamp::UNIX_EPOCH).with_events(shared, Expected::Any, vec![half]);
    store.append(torn).await.expect("one of two events");
    let complaint = complaint(store, Acknowledged::default()).await;
    assert!(complaint.contains("events of command"), "{complaint}");
}

#[tokio::test]
async fn a_forgotten_receipt_is_noticed() {
    let written = MemoryStore::new();
    let mut acknowledged = Acknowledged::default();
    let second = Writer::all().nth(1).expect("several writers");
    acknowledged.extend([second.write(&written, Duration::ZERO).await]);
    let log = written.read_log(LogQuery::after(Position::ZERO)).await;
    let copy = MemoryStore::new();
    for stored in log.expect("a page").events {
        let copied = vec![event(stored.payload)];
        let append = Append::new(Timestamp::UNIX_EPOCH);
        let append = append.with_events(stored.stream, Expected::Any, copied);
        copy.append(append).await.expect("a copy without receipts");
    }
    let complaint = complaint(copy, acknowledged).await;
    assert!(complaint.contains("the context"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        write_until_killed(MemoryStore::new()).await;
    }
}

#[tokio::test]
async fn acknowledgements_of_a_killed_child_are_received() {
    let mut child = this_test("crash::child_writes_until_it_is_killed");
    let kill = Kill::AfterWrite(Duration::from_millis(20));
    let acknowledged = run_and_kill(child.env(CHILD, "1"), kill);
    assert!(!acknowledged.is_empty());
}

#[tokio::test]
async fn a_child_that_ends_by_itself_is_noticed() {
    let run = || {
        let kill = Kill::AfterStart(Duration::from_secs(1));
        run_and_kill(&mut this_test("crash::there_is_no_such_test"), kill)
    };
    let panic = tokio::task::spawn_blocking(run).await.expect_err("it ends");
    let panic = panic.into_panic();
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    assert!(text.is_some_and(|text| text.contains("ended by itself")));
}
