//! Backups of a store in use: complete, consistent, of one moment, and never over an existing file.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsourcing_core::store::{EventStore, LogQuery, Position, StoreError};
use eventsourcing_sqlite::{BackupProgress, SqliteStore};
use tokio::time::timeout;

use super::hands::{assert_says, assert_sound, events_of, names_in, write};
use crate::fixture::{Place, append, append_to, event, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn backup_under_load_is_of_one_moment_and_holds_what_was_acknowledged() {
    let place = Place::new();
    let store = place.store().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            let acknowledged = Arc::clone(&acknowledged);
            let stop = Arc::clone(&stop);

            tokio::spawn(async move {
                let stream = stream();
                while !stop.load(Ordering::Relaxed) {
                    let mut append = append_to(&stream, eventsourcing_core::store::Expected::Any);
                    append.streams[0].events.push(event(vec![b'x'; 4_000]));
                    let receipt = store.append(append).await.expect("a receipt").receipt;
                    acknowledged.fetch_max(receipt.position.as_u64(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..5 {
        let before = acknowledged.load(Ordering::SeqCst);
        let copy = place.folder().join(format!("copy-{round}.db"));
        let copied = store.backup(&copy).await.expect("a backup");
        assert!(
            copied.head.as_u64() >= before,
            "what was acknowledged before is in it"
        );
        assert_eq!(copied.bytes, fs::metadata(&copy).expect("a file").len());
        assert_sound(&copy);
        let store = SqliteStore::open(&copy).await.expect("a store");
        assert_eq!(
            (store.log_id(), store.head().await.expect("a head")),
            (place.store().await.log_id(), copied.head)
        );
        let events = store
            .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
            .await
            .expect("the log")
            .events;
        assert_eq!(events.len() % 2, 0, "no append is in it by half");
        assert_eq!(
            events.len() as u64,
            copied.head.as_u64(),
            "no event is missing"
        );
        store
            .append(append())
            .await
            .expect("the copy is a store like any other");
        store.close().await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }
    store.close().await;
    let names = names_in(place.folder());
    assert!(names.iter().all(|name| name.ends_with(".db")), "{names:?}");
}

#[tokio::test]
async fn backup_overwrites_nothing() {
    let place = Place::new();
    let store = place.store().await;
    write(&store, 1).await;
    let taken = place.folder().join("taken");
    fs::write(&taken, "mine").expect("a file");
    let link = place.folder().join("link");
    std::os::unix::fs::symlink(place.folder().join("nowhere"), &link).expect("a link");
    for path in [&taken, &link, &place.file(), &place.folder().to_path_buf()] {
        let refused = store.backup(path).await.expect_err("it exists");
        assert!(matches!(refused, StoreError::Invalid { .. }), "{refused:?}");
        assert_says(
            &refused,
            path,
            "a backup overwrites nothing; choose another name",
        );
    }
    assert_eq!(fs::read_to_string(&taken).expect("a file"), "mine");
    let folder = place.folder().join("missing").join("copy.db");
    let refused = store.backup(&folder).await.expect_err("there is no folder");
    assert!(
        matches!(refused, StoreError::Unavailable { .. }),
        "{refused:?}"
    );
    assert_says(&refused, &folder, "the folder must exist");
    assert_eq!(
        names_in(place.folder()),
        ["link", "log.db", "log.db-shm", "log.db-wal", "taken"]
    );
}

#[tokio::test]
async fn backup_of_a_store_in_memory_is_a_file() {
    let place = Place::new();
    let store = SqliteStore::in_memory().expect("memory");
    write(&store, 3).await;
    store.backup(place.file()).await.expect("a backup");
    assert_eq!(events_of(&place.store().await).await, 3);
    store.append(append()).await.expect("the store goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_tells_how_far_it_is_and_is_broken_off_when_dropped() {
    let place = Place::new();
    let store = place.store().await;
    for _ in 0..6 {
        let mut large = append();
        large.streams[0].events[0].payload = vec![b'x'; 8 * 1024 * 1024];
        store.append(large).await.expect("a receipt");
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = Arc::clone(&told);
        move |progress: BackupProgress| told.lock().expect("no panic").push(progress)
    };
    let copied = store
        .backup_with(place.folder().join("copy.db"), tell)
        .await
        .expect("a backup");
    assert!(copied.bytes > 48 * 1024 * 1024);
    let told = told.lock().expect("no panic").clone();
    assert!(
        told.len() > 5 && told.is_sorted_by_key(|progress| progress.pages),
        "{told:?}"
    );
    assert!(
        told.last().is_some_and(|last| last.pages == last.of),
        "{told:?}"
    );

    let slow = |_| std::thread::sleep(Duration::from_millis(50));
    let broken_off = timeout(
        Duration::from_millis(60),
        store.backup_with(place.folder().join("late.db"), slow),
    )
    .await;
    assert!(broken_off.is_err(), "it is dropped");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        names_in(place.folder()),
        ["copy.db", "log.db", "log.db-shm", "log.db-wal"]
    );
    write(&store, 1).await;
}
