//! Opening: every fault is reported in one line and changes nothing, and many processes may open a file at once.
//! Promise P29.

mod fixture;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use eventsourcing_core::store::{
    Append, AuditStore, CommandId, EventStore, FollowerNotes, FollowerStore, HolderId,
    LeaseRequest, LeaseToken, LogId, LogQuery, Name, NotesQuery, Position, Receipt, ReceiptKind,
    Revision, StoreError, Tracking,
};
use eventsourcing_sqlite::SqliteStore;
use fixture::{Place, append, one_line};
use rusqlite::Connection;

/// Set for a child process: the path that it opens.
const CHILD_PATH: &str = "EVENTSOURCING_TEST_CHILD_PATH";

async fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(path)
        .await
        .expect_err("it cannot be opened")
}

#[tokio::test]
async fn missing_folder_is_named_and_not_made() {
    let place = Place::new();
    let folder = place.folder().join("missing");
    let error = refusal(&folder.join("log.db")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let wanted = format!(
        "the folder {} does not exist; create it first",
        folder.display()
    );
    assert!(one_line(&error).ends_with(&wanted), "{error}");
    assert!(!folder.exists());
}

#[tokio::test]
async fn folder_is_not_a_file() {
    let place = Place::new();
    let error = refusal(place.folder()).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        one_line(&error).ends_with("this is a folder; name a file in it"),
        "{error}"
    );
}

#[tokio::test]
async fn path_below_a_file_is_refused() {
    let place = Place::new();
    fs::write(place.file(), "a file").expect("a file");
    let error = refusal(&place.file().join("log.db")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    one_line(&error);
}

#[tokio::test]
async fn memory_is_not_a_file() {
    let error = refusal(Path::new(":memory:")).await;
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert!(one_line(&error).contains("MemoryStore"), "{error}");
}

#[tokio::test]
async fn relative_looking_uri_is_a_file_name() {
    let place = Place::new();
    let path = place.folder().join("file:log.db?mode=memory");
    drop(SqliteStore::open(&path).await.expect("a store"));
    assert!(path.exists());
}

#[tokio::test]
async fn file_that_is_no_database_is_left_alone() {
    for text in ["short".to_owned(), "a long text ".repeat(10_000)] {
        let place = Place::new();
        fs::write(place.file(), &text).expect("a text");
        let error = refusal(&place.file()).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(
            one_line(&error).ends_with("the file is not an SQLite database"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(place.file()).expect("a text"), text);
        assert_eq!(
            fs::read_dir(place.folder()).expect("a folder").count(),
            1,
            "no further file was made"
        );
    }
}

#[tokio::test]
async fn newer_schema_is_refused_and_left_alone() {
    let place = Place::new();
    place.store().await.close().await;
    let later = "UPDATE eventsourcing_meta SET value = '7' WHERE key = 'schema_version'";
    Connection::open(place.file())
        .and_then(|file| file.execute_batch(later))
        .expect("a later schema");
    let before = fs::read(place.file()).expect("a file");
    let error = refusal(&place.file()).await;
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    let wanted =
        "schema version 7 is newer than 4, the latest this program knows; upgrade the program";
    assert!(one_line(&error).ends_with(wanted), "{error}");
    assert!(
        fs::read(place.file()).expect("a file") == before,
        "the file has changed"
    );
}

#[tokio::test]
async fn file_of_an_older_schema_is_brought_up_to_date() {
    let place = Place::new();
    let file = Connection::open(place.file()).expect("a file");
    file.execute_batch(include_str!("../src/schema/1.sql"))
        .expect("the first schema");
    let log_id = LogId::new();
    let event =
        "INSERT INTO eventsourcing_events VALUES (7, x'00', 'c', 1, 'n', 1, 1, 0, x'', x'')";

    file.execute(
        "INSERT INTO eventsourcing_meta VALUES ('log_id', ?1)",
        [log_id.to_string()],
    )
    .expect("its log");
    file.execute(&event.replace("x'00'", "zeroblob(16)"), [])
        .expect("an event");
    drop(file);

    let store = place.store().await;
    assert_eq!(
        (store.log_id(), store.head().await.expect("a head").as_u64()),
        (log_id, 7)
    );
    let follower = "f".into();
    let holder = HolderId::new();
    let duration = std::time::Duration::from_secs(1);

    store
        .lease(LeaseRequest {
            follower,
            upstream: log_id,
            holder,
            duration,
        })
        .await
        .expect("what the second schema has");
    assert_eq!(
        store
            .append(append())
            .await
            .expect("a receipt")
            .receipt
            .position
            .as_u64(),
        8
    );
}

/// A rejection kept by an older release has position 0, and a rejection of this release has it too in the column that
/// older releases read.
#[tokio::test]
async fn receipts_of_an_older_schema_are_understood() {
    let place = Place::new();
    let file = Connection::open(place.file()).expect("a file");
    file.execute_batch(include_str!("../src/schema/1.sql"))
        .expect("the first schema");
    let log = LogId::new();
    let commands = [CommandId::new(), CommandId::new(), CommandId::new()];

    file.execute(
        "INSERT INTO eventsourcing_meta VALUES ('log_id', ?1)",
        [log.to_string()],
    )
    .expect("its log");
    let insert = "INSERT INTO eventsourcing_receipts (command_id, position) VALUES (?1, ?2)";
    let keep = |file: &Connection, command: CommandId, position: i64| {
        file.execute(insert, (command.as_uuid().into_bytes(), position))
            .expect("a receipt");
    };
    keep(&file, commands[0], 0);
    keep(&file, commands[1], 7);

    let store = place.store().await;
    keep(&file, commands[2], 0);
    for (command, kind, position) in [
        (commands[0], ReceiptKind::Rejected, 0),
        (commands[1], ReceiptKind::Recorded, 7),
        (commands[2], ReceiptKind::Rejected, 0),
    ] {
        let receipt = Receipt {
            log,
            kind,
            position: Position::new(position),
            command_id: Some(command),
        };
        assert_eq!(
            store.receipt(command).await.expect("an answer"),
            Some(receipt)
        );
    }
    let written = store.append(append()).await.expect("a receipt").receipt;
    let rejected = CommandId::new();
    let append = Append::new(jiff::Timestamp::UNIX_EPOCH).with_rejected_command(rejected);
    assert_eq!(
        store
            .append(append)
            .await
            .expect("it is kept")
            .receipt
            .position,
        written.position
    );
    let position = "SELECT position FROM eventsourcing_receipts WHERE command_id = ?1";
    let position: i64 = file
        .query_row(position, [rejected.as_uuid().into_bytes()], |row| {
            row.get(0)
        })
        .expect("a row");
    assert_eq!(position, 0);
    assert_eq!(store.receipts(None, 9).await.expect("receipts").len(), 4);
}

#[tokio::test]
async fn follower_of_an_older_schema_goes_on_where_it_was_and_takes_notes() {
    let place = Place::new();
    let file = Connection::open(place.file()).expect("a file");
    let older = concat!(
        include_str!("../src/schema/1.sql"),
        include_str!("../src/schema/2.sql")
    );
    file.execute_batch(older).expect("the second schema");
    let log_id = LogId::new();
    let upstream = LogId::new();
    let holder = HolderId::new();

    file.execute(
        "INSERT INTO eventsourcing_meta VALUES ('log_id', ?1)",
        [log_id.to_string()],
    )
    .expect("its log");
    let row = (
        upstream.as_uuid().into_bytes(),
        holder.as_uuid().into_bytes(),
    );
    file.execute(
        "INSERT INTO eventsourcing_tracking VALUES ('f', ?1, 41)",
        [row.0],
    )
    .expect("a follower");
    file.execute(
        "INSERT INTO eventsourcing_leases VALUES ('f', ?1, ?2, 3, 0)",
        row,
    )
    .expect("its lease");
    drop(file);

    let store = place.store().await;
    let follower = Name::from("f");
    let notes = NotesQuery::new("f".into(), upstream, "");

    let before = store.notes(notes.clone()).await.expect("notes");
    let expected = FollowerNotes {
        position: Position::new(41),
        ..FollowerNotes::default()
    };
    assert_eq!((store.log_id(), before), (log_id, expected));
    assert_eq!(
        store
            .lease_holder(&follower, upstream)
            .await
            .expect("no holder"),
        None
    );
    let step = Tracking::new(follower, upstream, Position::new(41), Position::new(42))
        .with_lease(LeaseToken::new(3));
    let step = step.with_revision(Revision::ZERO).with_note("key", "value");
    store
        .append(append().with_tracking(step))
        .await
        .expect("the lease is its own");
    let after = store.notes(notes).await.expect("notes");
    assert_eq!(
        (
            after.position.as_u64(),
            after.revision.as_u64(),
            after.notes.len()
        ),
        (42, 1, 1)
    );
}

#[tokio::test]
async fn foreign_tables_are_left_alone() {
    let place = Place::new();
    let foreign = "PRAGMA user_version = 42; PRAGMA application_id = 43;
        CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO events (what) VALUES ('theirs');";
    Connection::open(place.file())
        .and_then(|file| file.execute_batch(foreign))
        .expect("a foreign table");
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    store.close().await;

    let file = Connection::open(place.file()).expect("a connection");
    let number = |sql| {
        file.query_row(sql, [], |row| row.get::<_, i64>(0))
            .expect("a number")
    };
    assert_eq!(number("SELECT user_version FROM pragma_user_version"), 42);
    assert_eq!(
        number("SELECT application_id FROM pragma_application_id"),
        43
    );
    assert_eq!(
        number("SELECT count(*) FROM events WHERE id = 1 AND what = 'theirs'"),
        1
    );
    let ours = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%eventsourcing_%'";
    assert_eq!(
        number(ours),
        1,
        "every table and index of the store carries its prefix"
    );
}

#[tokio::test]
async fn foreign_table_of_our_name_is_refused_and_left_alone() {
    let place = Place::new();
    let foreign = "CREATE TABLE eventsourcing_tracking (theirs TEXT)";
    Connection::open(place.file())
        .and_then(|file| file.execute_batch(foreign))
        .expect("a foreign table");
    let error = refusal(&place.file()).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(
        one_line(&error).ends_with("the tables are not those of this store"),
        "{error}"
    );
    let file = Connection::open(place.file()).expect("a connection");
    let tables = file.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0)
    });
    assert_eq!(tables, Ok(1));
}

#[cfg(unix)]
#[tokio::test]
async fn read_only_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    if let Some(path) = std::env::var_os(READ_ONLY_PATH) {
        return assert_read_only_is_refused(Path::new(&path)).await;
    }
    let place = Place::new();
    place.store().await.close().await;
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o777)).expect("permissions");
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o444)).expect("permissions");
    match fs::File::options().write(true).open(place.file()) {
        Ok(_) => run_as_nobody(&place),
        Err(_) => assert_read_only_is_refused(&place.file()).await,
    }
}

#[cfg(unix)]
const READ_ONLY_PATH: &str = "EVENTSOURCING_TEST_READ_ONLY_PATH";

/// Permissions do not bind the superuser, so this test runs again as an unprivileged user.
#[cfg(unix)]
fn run_as_nobody(place: &Place) {
    use std::os::unix::process::CommandExt;

    let program = place.folder().join("opening");
    fs::copy(std::env::current_exe().expect("this program"), &program)
        .expect("a copy that every user may run");
    let mut command = std::process::Command::new(program);
    command
        .args(["--exact", "read_only_file_is_refused"])
        .env(READ_ONLY_PATH, place.file());
    let output = command
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()
        .expect("the copy runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[cfg(unix)]
async fn assert_read_only_is_refused(path: &Path) {
    let error = refusal(path).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        one_line(&error).contains("read-only; make it writable"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn folder_that_takes_no_files_is_refused() {
    let error = refusal(Path::new("/proc/eventsourcing-log.db")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        one_line(&error).contains("both must be writable"),
        "{error}"
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
    let page = store
        .read_log(LogQuery::after(Position::ZERO))
        .await
        .expect("a page");
    assert_eq!(
        (page.events.len(), page.ceiling),
        (1, written.receipt.position)
    );
    let next = store.append(append()).await.expect("a receipt");
    assert!(next.receipt.position > written.receipt.position);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_make_one_store() {
    let place = Place::new();
    let opening = (0..16).map(|_| tokio::spawn(SqliteStore::open(place.file())));
    let mut ids = Vec::new();
    for store in opening.collect::<Vec<_>>() {
        let store = store.await.expect("a task").expect("a store");
        store.append(append()).await.expect("a receipt");
        ids.push(store.log_id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "all have opened the same log");
    assert_eq!(
        place.store().await.head().await.expect("a head"),
        Position::new(16)
    );
}

#[tokio::test]
async fn many_processes_make_one_store() {
    let place = Place::new();
    let children: Vec<_> = (0..12).map(|_| spawn_child(&place.file())).collect();
    for mut child in children {
        assert!(child.wait().expect("a status").success());
    }
    assert_eq!(
        place.store().await.head().await.expect("a head"),
        Position::new(12)
    );
}

fn spawn_child(path: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let test = ["--exact", "child_process_opens_and_appends", "--quiet"];
    Command::new(program)
        .args(test)
        .env(CHILD_PATH, path)
        .stdout(Stdio::null())
        .spawn()
        .expect("a child process")
}

/// The other half of the test above. It does nothing in the process that runs all tests.
#[tokio::test]
async fn child_process_opens_and_appends() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let store = SqliteStore::open(&path).await.expect("a store");
    store.append(append()).await.expect("a receipt");
    store.close().await;
}
