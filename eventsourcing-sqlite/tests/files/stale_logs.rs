//! A write-ahead log that was left behind: SQLite would mix its pages into any file that lies beside it.

use std::fs;
use std::path::Path;

use eventsourcing_core::store::{EventStore, StoreError};
use eventsourcing_sqlite::SqliteStore;

use super::hands::{assert_says, assert_sound, beside, copy, events_of, store_with, write};
use crate::fixture::Place;

/// Returns copies of the files of a running process, as a kill would leave them.
async fn files_of_a_killed_process(place: &Place, appends: usize) -> Place {
    let store = place.store().await;
    write(&store, appends).await;
    let killed = Place::new();
    for ending in ["", "-wal"] {
        copy(
            &beside(&place.file(), ending),
            &beside(&killed.file(), ending),
        );
    }
    store.close().await;
    killed
}

async fn assert_refused(place: &Place, what: &str) {
    let pick = |ending: &str| fs::read(beside(&place.file(), ending)).ok();
    let before = [pick(""), pick("-wal")];
    for _ in 0..2 {
        let refused = SqliteStore::open(place.file())
            .await
            .expect_err("file and log are of two lives");
        assert!(matches!(refused, StoreError::Invalid { .. }), "{refused:?}");
        assert_says(&refused, &place.file(), what);
    }
    assert!(
        [pick(""), pick("-wal")] == before,
        "file and log are as they were"
    );
}

#[tokio::test]
async fn backup_beside_an_old_log_is_refused_and_not_damaged() {
    let place = Place::new();
    store_with(&place, 30).await;
    let backups = [
        place.folder().join("by-cp"),
        place.folder().join("by-backup"),
    ];
    copy(&place.file(), &backups[0]);
    let store = place.store().await;
    store.backup(&backups[1]).await.expect("a backup");
    store.close().await;
    store_with(&place, 30).await;
    for backup in &backups {
        let killed = files_of_a_killed_process(&place, 5).await;
        copy(backup, &killed.file());
        assert_refused(
            &killed,
            "belongs to another file or to earlier content of this one",
        )
        .await;
        fs::remove_file(beside(&killed.file(), "-wal")).expect("what the message says");
        let store = killed.store().await;
        assert_eq!(events_of(&store).await, 30);
        store.close().await;
        assert_sound(&killed.file());
    }
}

#[tokio::test]
async fn other_store_beside_an_old_log_is_refused() {
    let place = Place::new();
    let other = Place::new();
    store_with(&other, 3).await;
    let killed = files_of_a_killed_process(&place, 5).await;
    copy(&other.file(), &killed.file());
    assert_refused(
        &killed,
        "belongs to another file or to earlier content of this one",
    )
    .await;
}

#[tokio::test]
async fn log_without_its_file_is_refused_and_kept() {
    let place = Place::new();
    store_with(&place, 3).await;
    let killed = files_of_a_killed_process(&place, 5).await;
    let file = fs::read(killed.file()).expect("a file");
    fs::remove_file(killed.file()).expect("it is removed");
    assert_refused(
        &killed,
        "the file is missing or empty, but its write-ahead log",
    )
    .await;
    fs::write(killed.file(), "").expect("an empty file");
    assert_refused(
        &killed,
        "the file is missing or empty, but its write-ahead log",
    )
    .await;
    fs::write(killed.file(), file).expect("it is put back");
    assert_eq!(
        events_of(&killed.store().await).await,
        8,
        "what the message says helps"
    );
}

#[tokio::test]
async fn files_of_a_killed_process_belong_together() {
    let place = Place::new();
    for round in 1..6 {
        let killed = files_of_a_killed_process(&place, 5).await;
        let store = killed.store().await;
        assert_eq!(events_of(&store).await, round * 5, "round {round}");
        write(&store, 1).await;
        store.close().await;
        assert_sound(&killed.file());
    }
}

#[tokio::test]
async fn log_of_an_older_release_is_taken_as_it_is() {
    let place = Place::new();
    let file = rusqlite::Connection::open(place.file()).expect("a file");
    file.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0")
        .expect("a log");
    file.execute_batch(include_str!("../../src/schema/1.sql"))
        .expect("the first schema");
    let log_id = eventsourcing_core::store::LogId::new().to_string();
    file.execute(
        "INSERT INTO eventsourcing_meta VALUES ('log_id', ?1)",
        [log_id],
    )
    .expect("its log");
    let killed = Place::new();
    for ending in ["", "-wal"] {
        copy(
            &beside(&place.file(), ending),
            &beside(&killed.file(), ending),
        );
    }
    let store = killed.store().await;
    write(&store, 2).await;
    assert_eq!(store.head().await.expect("a head").as_u64(), 2);
}

#[tokio::test]
async fn files_with_odd_names_are_opened() {
    let place = Place::new();
    for name in ["a b.db", "100%.db", "a?b#c.db", "file:x.db", "ünïcode.db"] {
        let path = place.folder().join(name);
        for round in 1..3 {
            let store = SqliteStore::open(&path).await.expect(name);
            write(&store, 1).await;
            assert_eq!(events_of(&store).await, round, "{name}");
            let second = SqliteStore::open(&path).await.expect("beside a log");
            drop((store, second));
        }
    }
    assert!(Path::new(&place.folder().join("100%.db")).exists());
}
