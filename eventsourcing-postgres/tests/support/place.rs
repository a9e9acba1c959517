//! A schema of its own on a server, for one test.

use eventsourcing_core::store::StoreError;
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::Client;
use uuid::Uuid;

use super::connect;
use super::server::{Server, given_url, shared_url};

/// The place of one test's stores. On a server that was given, its objects are dropped at the end; other servers are
/// discarded.
pub(crate) struct Place {
    url: String,
    schema: String,
    made: Made,
}

/// The schema of a copy of all rows of a store.
pub(crate) struct Kept(String);

/// The tables of a store whose rows change.
const TABLES: [&str; 6] = [
    "events",
    "snapshots",
    "tracking",
    "notes",
    "leases",
    "receipts",
];

enum Made {
    Schema,
    /// The database, and the URL from which it was made.
    Database(String, String),
}

impl Place {
    /// Creates a schema on the server that the tests of this program share.
    pub(crate) fn new() -> Self {
        Self::at(shared_url())
    }

    /// Creates a schema on a server of the test's own.
    pub(crate) fn on(server: &Server) -> Self {
        Self::at(server.url("postgres"))
    }

    /// Creates a schema at the server and database of `url`.
    pub(crate) fn at(url: String) -> Self {
        Self {
            url,
            schema: format!("test_{}", Uuid::new_v4().simple()),
            made: Made::Schema,
        }
    }

    /// Creates a database on the shared server, without connections of other tests.
    pub(crate) async fn with_database() -> Self {
        let made_from = shared_url();
        let name = format!("test_{}", Uuid::new_v4().simple());
        connect(&made_from)
            .await
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database");
        let made = Made::Database(name.clone(), made_from.clone());
        Self {
            url: with_database(&made_from, &name),
            schema: "eventsourcing".to_owned(),
            made,
        }
    }

    /// Returns the schema of the same name on another server.
    pub(crate) fn moved_to(&self, server: &Server) -> Self {
        Self {
            url: server.url("postgres"),
            schema: self.schema.clone(),
            made: Made::Schema,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns the options with which every store of this place is opened.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::new().with_schema(&self.schema)
    }

    pub(crate) async fn try_store(&self) -> Result<PostgresStore, StoreError> {
        self.options().connect(&self.url).await
    }

    pub(crate) async fn try_existing_store(&self) -> Result<PostgresStore, StoreError> {
        self.options().connect_existing(&self.url).await
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        self.try_store().await.expect("a store")
    }

    /// Opens a connection outside the store, whose search path begins with this schema.
    pub(crate) async fn outsider(&self) -> Client {
        let client = connect(&self.url).await;
        client
            .batch_execute(&format!("SET search_path = {}, public", self.schema))
            .await
            .expect("a search path");
        client
    }

    /// Keeps all rows of the store, to be [put back](Self::put_back).
    pub(crate) async fn keep(&self) -> Kept {
        let kept = format!("kept_{}", Uuid::new_v4().simple());
        let copies = TABLES
            .map(|table| format!("CREATE TABLE {kept}.{table} AS TABLE {table};"))
            .concat();
        let sequence =
            "CREATE TABLE {kept}.sequence AS SELECT last_value, is_called FROM events_position";
        let keep = format!(
            "CREATE SCHEMA {kept}; {copies} {}",
            sequence.replace("{kept}", &kept)
        );
        self.outsider()
            .await
            .batch_execute(&keep)
            .await
            .expect("a copy of all rows");
        Kept(kept)
    }

    /// Restores the rows of the store's database while it has no connections, like a server that has forgotten its last
    /// commits.
    ///
    /// # Panics
    /// The place has no database of its own.
    pub(crate) async fn put_back(&self, Kept(kept): &Kept) {
        let Made::Database(name, made_from) = &self.made else {
            panic!("others use this database")
        };
        let outside = connect(made_from).await;
        let inside = self.outsider().await;
        let allow = |allow| format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}");
        outside
            .batch_execute(&allow(false))
            .await
            .expect("no connection is accepted");
        let others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        inside
            .execute(others, &[])
            .await
            .expect("all others have gone");
        let back = TABLES.map(|table| {
            let chosen = if table == "events" {
                "OVERRIDING SYSTEM VALUE"
            } else {
                ""
            };
            format!(
                "DELETE FROM {table}; INSERT INTO {table} {chosen} SELECT * FROM {kept}.{table};"
            )
        });
        let sequence =
            format!("SELECT setval('events_position', last_value, is_called) FROM {kept}.sequence");
        inside
            .batch_execute(&format!("BEGIN; {} {sequence}; COMMIT", back.concat()))
            .await
            .expect("as it was");
        outside
            .batch_execute(&allow(true))
            .await
            .expect("everybody comes in again");
    }

    /// Ends every connection to this place's database but one's own.
    pub(crate) async fn end_all_connections(&self) {
        let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        connect(&self.url)
            .await
            .execute(all, &[])
            .await
            .expect("the superuser may do that");
    }
}

impl Place {
    /// Ends all connections to its own database, and allows no new one until the last has ended: a faster store would
    /// find one of its earlier sessions there.
    pub(crate) async fn end_all_connections_before_a_new_one(&self) {
        let Made::Database(name, made_from) = &self.made else {
            panic!("only a database of its own can be closed")
        };
        let elsewhere = connect(made_from).await;
        let allow = |allowed| format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}");
        elsewhere
            .batch_execute(&allow(false))
            .await
            .expect("the superuser may do that");
        let ended = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = $1";
        while elsewhere
            .query_one(ended, &[name])
            .await
            .expect("an answer")
            .get::<_, i64>(0)
            > 0
        {}
        elsewhere
            .batch_execute(&allow(true))
            .await
            .expect("the superuser may do that");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(given) = given_url() else { return };
        match &self.made {
            Made::Schema if self.url == given => {
                execute_apart(
                    &given,
                    format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema),
                );
            }
            Made::Database(name, made_from) if *made_from == given => {
                execute_apart(&given, format!("DROP DATABASE {name} (FORCE)"));
            }
            _ => {}
        }
    }
}

/// Returns the URL of another database on the same server.
fn with_database(url: &str, database: &str) -> String {
    let (rest, parameters) = url
        .split_once('?')
        .map_or((url, None), |(rest, parameters)| (rest, Some(parameters)));
    let authority = rest.find("://").map_or(0, |scheme| scheme + 3);
    let server = rest[authority..]
        .find('/')
        .map_or(rest, |path| &rest[..authority + path]);
    let parameters = parameters
        .map(|parameters| format!("?{parameters}"))
        .unwrap_or_default();
    format!("{server}/{database}{parameters}")
}

/// Runs on a thread of its own, because a place may be dropped inside a runtime or outside.
fn execute_apart(url: &str, statement: String) {
    let url = url.to_owned();
    let executing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async { connect(&url).await.batch_execute(&statement).await })
    });
    let _ = executing.join();
}
