//! The embedded store keeps every promise.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use eventsourcing_core::store::StoreError;
use eventsourcing_sqlite::SqliteStore;
use eventsourcing_testing::conformance::{DurableFixture, Fixture};
use rusqlite::Connection;
use tempfile::TempDir;

struct InFolder {
    folder: TempDir,
    /// The number of crashes so far. Each leaves the old file behind under another name.
    crashes: Mutex<usize>,
}

impl InFolder {
    fn file(&self) -> PathBuf {
        let crashes = self.crashes.lock().unwrap_or_else(PoisonError::into_inner);
        self.folder.path().join(format!("log-{crashes}.db"))
    }

    fn connection(&self) -> Connection {
        Connection::open(self.file()).expect("the file opens")
    }
}

impl Fixture for InFolder {
    type Store = SqliteStore;

    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            crashes: Mutex::default(),
        }
    }

    async fn open(&self) -> SqliteStore {
        self.try_open().await.expect("a healthy store")
    }
}

impl DurableFixture for InFolder {
    async fn try_open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.file()).await
    }

    async fn try_open_existing(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_existing(self.file()).await
    }

    /// Continues with a copy of the database and its write-ahead log, taken while the store is still open.
    async fn crash(&self, store: SqliteStore) {
        let before = self.file();
        *self.crashes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let after = self.file();
        fs::copy(&before, &after).expect("the database is copied");
        fs::copy(
            before.with_extension("db-wal"),
            after.with_extension("db-wal"),
        )
        .expect("its log is copied");
        drop(store);
    }

    async fn make_newer(&self) {
        let newer = "UPDATE eventsourcing_meta SET value = '9999' WHERE key = 'schema_version'";
        self.connection()
            .execute(newer, [])
            .expect("the schema is marked");
    }

    async fn put_foreign_table(&self) {
        let table = "CREATE TABLE events (position INTEGER PRIMARY KEY, what TEXT); INSERT INTO events VALUES (7, 'Ada')";
        self.connection()
            .execute_batch(table)
            .expect("a foreign table");
    }

    async fn foreign_table(&self) -> String {
        let all = "SELECT sql || (SELECT group_concat(position || what) FROM events) FROM sqlite_schema WHERE name = 'events'";
        self.connection()
            .query_row(all, [], |row| row.get(0))
            .expect("the foreign table")
    }
}

eventsourcing_testing::conformance!(InFolder, durable, database);

/// The store in memory keeps every promise except those that require it to outlive its process.
mod in_memory {
    use eventsourcing_sqlite::SqliteStore;
    use eventsourcing_testing::conformance::Fixture;

    struct InMemory(SqliteStore);

    impl Fixture for InMemory {
        type Store = SqliteStore;

        async fn new() -> Self {
            Self(SqliteStore::in_memory().expect("memory"))
        }

        async fn open(&self) -> SqliteStore {
            self.0.clone()
        }
    }

    eventsourcing_testing::conformance!(InMemory, database);

    #[test]
    fn store_in_memory_and_the_model_agree() {
        eventsourcing_testing::model::check_against_model::<InMemory>(200);
    }
}

#[test]
fn embedded_store_and_the_model_agree() {
    eventsourcing_testing::model::check_against_model::<InFolder>(200);
}
