//! Each accident alone: its message, that it is final, and that reads soon stop too.

use std::fs;
use std::path::Path;
use std::time::Duration;

use eventsourcing_core::store::{
    EventStore, FollowerStore, HolderId, LeaseRequest, Position, StoreError, Tracking,
};
use eventsourcing_sqlite::SqliteStore;
use tokio::time::{sleep, timeout};

use super::hands::{
    assert_says, assert_sound, beside, copy, events_of, names_in, restore_by_sqlite, run,
    store_with, write,
};
use crate::fixture::{Place, append};

/// Longer than reads take to notice an accident.
const SOON: Duration = Duration::from_millis(120);

const REMOVED: &str =
    "removed or renamed while this store had it open; stop this program, put the file back";
const REPLACED: &str =
    "replaced while this store had it open; stop this program and open the store again";
const RESTORED: &str =
    "restored while this store had it open: its content is older than, or unrelated to";
const OVERWRITTEN: &str =
    "overwritten while this store had it open, by a copy or a backup; stop this program";

/// Asserts that every write is refused at once and forever, and that reads are refused after a moment.
async fn assert_lost(store: &SqliteStore, place: &Place, what: &str) {
    for _ in 0..2 {
        let refused = store
            .append(append())
            .await
            .expect_err("the path names something else");
        assert!(
            matches!(refused, StoreError::Unavailable { .. }),
            "{refused:?}"
        );
        assert!(refused.proves_nothing_written(), "{refused:?}");
        assert_says(&refused, &place.file(), what);
    }
    let upstream = store.log_id();
    let step = Tracking::new("follower", upstream, Position::ZERO, Position::new(1));
    assert_says(
        &store
            .append(append().with_tracking(step))
            .await
            .expect_err("a step"),
        &place.file(),
        what,
    );
    let database = store.database().expect("a database");
    let Err(begun) = database.begin().await else {
        panic!("a transaction has begun")
    };
    assert_says(&begun, &place.file(), what);
    let request = LeaseRequest {
        follower: "follower".into(),
        upstream,
        holder: HolderId::new(),
        duration: Duration::from_secs(1),
    };
    assert_says(
        &store.lease(request).await.expect_err("a lease"),
        &place.file(),
        what,
    );

    sleep(SOON).await;
    assert_says(
        &store.head().await.expect_err("reads notice"),
        &place.file(),
        what,
    );
    let waited = timeout(SOON * 10, store.wait_beyond(Position::new(1_000), None))
        .await
        .expect("waiting ends");
    assert_says(
        &waited.expect_err("there is nothing to wait for"),
        &place.file(),
        what,
    );
    let copied = store
        .backup(place.folder().join("late.db"))
        .await
        .expect_err("it cannot be copied");
    assert_says(&copied, &place.file(), what);
}

#[tokio::test]
async fn removed_file_is_noticed() {
    let place = Place::new();
    let store = place.store().await;
    write(&store, 3).await;
    fs::remove_file(place.file()).expect("it is removed");
    assert_lost(&store, &place, REMOVED).await;
}

#[tokio::test]
async fn renamed_file_is_noticed_and_what_was_written_is_in_it() {
    let place = Place::new();
    let store = place.store().await;
    write(&store, 3).await;
    let moved = place.folder().join("moved.db");
    for ending in ["", "-wal", "-shm"] {
        fs::rename(beside(&place.file(), ending), beside(&moved, ending)).expect("it is renamed");
    }
    assert_lost(&store, &place, REMOVED).await;
    store.close().await;
    let store = SqliteStore::open(&moved).await.expect("the file is whole");
    assert_eq!(events_of(&store).await, 3);
}

#[tokio::test]
async fn renamed_folder_is_noticed() {
    let place = Place::new();
    let folder = place.folder().join("old");
    fs::create_dir(&folder).expect("a folder");
    let store = SqliteStore::open(folder.join("log.db"))
        .await
        .expect("a store");
    write(&store, 1).await;
    fs::rename(&folder, place.folder().join("new")).expect("it is renamed");
    let refused = store
        .append(append())
        .await
        .expect_err("the path names nothing");
    assert_says(&refused, &folder.join("log.db"), REMOVED);
    fs::rename(place.folder().join("new"), &folder).expect("it is renamed back");
    assert!(
        store.append(append()).await.is_err(),
        "it is final for this store"
    );
}

#[tokio::test]
async fn replaced_file_is_noticed_and_the_new_one_is_left_alone() {
    let place = Place::new();
    let other = Place::new();
    store_with(&other, 7).await;
    let store = place.store().await;
    write(&store, 3).await;
    fs::copy(other.file(), place.folder().join("new.db")).expect("a copy");
    fs::rename(place.folder().join("new.db"), place.file()).expect("it is replaced");
    let before = fs::read(place.file()).expect("a file");
    assert_lost(&store, &place, REPLACED).await;
    store.close().await;
    assert!(
        fs::read(place.file()).expect("a file") == before,
        "the new file has changed"
    );
}

#[tokio::test]
async fn link_that_points_elsewhere_is_noticed() {
    let place = Place::new();
    let link = place.folder().join("link.db");
    std::os::unix::fs::symlink(place.file(), &link).expect("a link");
    let store = SqliteStore::open(&link).await.expect("a store");
    write(&store, 3).await;
    assert!(
        beside(&place.file(), "-wal").exists(),
        "the log lies beside the file and not beside the link"
    );
    let other = place.folder().join("other.db");
    SqliteStore::open(&other)
        .await
        .expect("another store")
        .close()
        .await;
    fs::remove_file(&link)
        .and_then(|()| std::os::unix::fs::symlink(&other, &link))
        .expect("another link");
    let refused = store
        .append(append())
        .await
        .expect_err("the path names something else");
    assert_says(&refused, &link, REPLACED);
}

#[tokio::test]
async fn removed_or_replaced_log_is_noticed() {
    for ending in ["-wal", "-shm"] {
        for replaced in [false, true] {
            let place = Place::new();
            let store = place.store().await;
            write(&store, 3).await;
            let part = beside(&place.file(), ending);
            let what = if replaced { REPLACED } else { REMOVED };
            match replaced {
                true => {
                    copy(&part, &place.folder().join("copy"));
                    fs::rename(place.folder().join("copy"), &part).expect("it is replaced");
                }
                false => fs::remove_file(&part).expect("it is removed"),
            }
            let refused = store
                .append(append())
                .await
                .expect_err("the log is another one");
            assert_says(&refused, &part, what);
        }
    }
}

/// Creates a store that has been in use for a while, and a backup from before it was opened.
async fn store_and_older_backup(place: &Place, backup: &Path) -> SqliteStore {
    store_with(place, 20).await;
    copy(&place.file(), backup);
    let store = place.store().await;
    write(&store, 5).await;
    sleep(Duration::from_millis(300)).await;
    write(&store, 5).await;
    store
}

#[tokio::test]
async fn older_backup_that_is_copied_over_the_file_is_noticed_and_not_damaged() {
    let place = Place::new();
    let backup = place.folder().join("backup");
    let store = store_and_older_backup(&place, &backup).await;
    copy(&backup, &place.file());
    assert_lost(&store, &place, OVERWRITTEN).await;
    store.close().await;
    assert!(
        fs::read(place.file()).expect("a file") == fs::read(&backup).expect("a backup"),
        "the restored file has changed"
    );
    let refused = SqliteStore::open(place.file())
        .await
        .expect_err("the log is of a later time");
    assert_says(
        &refused,
        &place.file(),
        "belongs to another file or to earlier content of this one",
    );
    for ending in ["-wal", "-shm"] {
        let _not_there = fs::remove_file(beside(&place.file(), ending));
    }
    let store = place.store().await;
    assert_eq!(events_of(&store).await, 20, "what the message says helps");
    write(&store, 1).await;
    store.close().await;
    assert_sound(&place.file());
}

#[tokio::test]
async fn backup_of_this_life_that_is_copied_over_the_file_is_noticed() {
    let place = Place::new();
    let store = place.store().await;
    write(&store, 20).await;
    let backup = place.folder().join("backup");
    store.backup(&backup).await.expect("a backup");
    write(&store, 5).await;
    copy(&backup, &place.file());
    assert_lost(&store, &place, OVERWRITTEN).await;
}

#[tokio::test]
async fn other_store_that_is_copied_over_the_file_is_noticed() {
    let place = Place::new();
    let other = Place::new();
    store_with(&other, 7).await;
    let store = place.store().await;
    write(&store, 3).await;
    copy(&other.file(), &place.file());
    assert_lost(&store, &place, OVERWRITTEN).await;
}

/// The names and the file stay the same; the new content is in the log.
#[tokio::test]
async fn backup_that_sqlite_restores_into_the_file_is_noticed_and_used_from_the_next_start() {
    for is_of_earlier_life in [false, true] {
        let place = Place::new();
        let backup = place.folder().join("backup");
        let store = store_and_older_backup(&place, &backup).await;
        if !is_of_earlier_life {
            fs::remove_file(&backup).expect("it is removed");
            store.backup(&backup).await.expect("a backup");
            write(&store, 5).await;
        }
        restore_by_sqlite(&backup, &place.file());
        assert_lost(&store, &place, RESTORED).await;
        store.close().await;
        let store = place.store().await;
        assert_eq!(
            events_of(&store).await,
            if is_of_earlier_life { 20 } else { 30 }
        );
        write(&store, 1).await;
        store.close().await;
        assert_sound(&place.file());
    }
}

#[tokio::test]
async fn store_that_only_reads_notices_what_sqlite_restores() {
    let place = Place::new();
    let backup = place.folder().join("backup");
    let store = store_and_older_backup(&place, &backup).await;
    restore_by_sqlite(&backup, &place.file());
    sleep(SOON).await;
    assert_says(
        &store.head().await.expect_err("it is of an earlier time"),
        &place.file(),
        RESTORED,
    );
}

#[tokio::test]
async fn emptied_file_is_noticed() {
    let place = Place::new();
    store_with(&place, 3).await;
    let store = place.store().await;
    write(&store, 3).await;
    run(
        "truncate",
        &[Path::new("-s"), Path::new("0"), &place.file()],
    );
    assert_lost(&store, &place, OVERWRITTEN).await;
}

#[tokio::test]
async fn store_that_only_reads_notices_too() {
    let place = Place::new();
    let backup = place.folder().join("backup");
    store_with(&place, 3).await;
    copy(&place.file(), &backup);
    store_with(&place, 3).await;
    let store = place.store().await;
    assert_eq!(events_of(&store).await, 6);
    copy(&backup, &place.file());
    sleep(SOON).await;
    assert_says(
        &store.head().await.expect_err("it is another file"),
        &place.file(),
        RESTORED,
    );
}

#[tokio::test]
async fn what_writes_to_the_file_and_changes_nothing_is_no_accident() {
    let place = Place::new();
    let store = place.store().await;
    let second = place.store().await;
    for round in 0..20 {
        write(&store, 2).await;
        write(&second, 1).await;
        match round % 4 {
            0 => run("touch", &[&place.file()]),
            1 => run("chmod", &[Path::new("640"), &place.file()]),
            2 => fs::hard_link(
                place.file(),
                place.folder().join(format!("second-name-{round}")),
            )
            .expect("a link"),
            _ => {
                let outsider = rusqlite::Connection::open(place.file()).expect("a connection");
                let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][round / 4 % 4];
                let copied =
                    outsider.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
                copied.expect("a checkpoint");
            }
        }
    }
    assert_eq!(events_of(&second).await, 60);
    store.close().await;
    write(&second, 1).await;
    second.close().await;
    assert_sound(&place.file());
    assert!(
        names_in(place.folder())
            .iter()
            .all(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
    );
}
