//! The server store keeps every promise.

mod support;

use eventsourcing_core::store::StoreError;
use eventsourcing_postgres::PostgresStore;
use eventsourcing_testing::conformance::{DurableFixture, Fixture, RevertingFixture};
use support::Place;
use support::place::Kept;

/// A database for each promise, so that ending its connections disturbs no other test.
struct InDatabase(Place);

impl Fixture for InDatabase {
    type Store = PostgresStore;

    async fn new() -> Self {
        Self(Place::with_database().await)
    }

    async fn open(&self) -> PostgresStore {
        self.0.store().await
    }
}

impl DurableFixture for InDatabase {
    async fn try_open(&self) -> Result<PostgresStore, StoreError> {
        self.0.try_store().await
    }

    async fn try_open_existing(&self) -> Result<PostgresStore, StoreError> {
        self.0.try_existing_store().await
    }

    /// The server ends all connections at once, in the middle of their work, and the store has no time to close them.
    /// `crash.rs` kills servers and processes.
    async fn crash(&self, store: PostgresStore) {
        self.0.end_all_connections().await;
        drop(store);
    }

    async fn make_newer(&self) {
        let newer = "UPDATE meta SET value = '9999' WHERE key = 'schema_version'";
        self.0
            .outsider()
            .await
            .batch_execute(newer)
            .await
            .expect("the schema is marked");
    }

    async fn put_foreign_table(&self) {
        let table = "CREATE TABLE public.events (position bigint PRIMARY KEY, what text);
            INSERT INTO public.events VALUES (7, 'Ada')";
        self.0
            .outsider()
            .await
            .batch_execute(table)
            .await
            .expect("a foreign table");
    }

    async fn foreign_table(&self) -> String {
        let all =
            "SELECT (SELECT string_agg(attname || ' ' || atttypid::regtype, ', ') FROM pg_attribute
                WHERE attrelid = 'public.events'::regclass AND attnum > 0)
            || ': ' || (SELECT string_agg(position || what, ', ') FROM public.events)";
        self.0
            .outsider()
            .await
            .query_one(all, &[])
            .await
            .expect("the foreign table")
            .get(0)
    }
}

/// Ends all connections and then restores the rows. `epochs.rs` has servers that really forget.
impl RevertingFixture for InDatabase {
    type Moment = Kept;

    async fn keep(&self) -> Kept {
        // The store creates the tables.
        drop(self.0.store().await);
        self.0.keep().await
    }

    async fn go_back(&self, moment: &Kept) {
        self.0.put_back(moment).await;
    }
}

eventsourcing_testing::conformance!(InDatabase, durable, database, reverting);

/// Schemas are created faster than databases, and the model needs many places.
struct InSchema(Place);

impl Fixture for InSchema {
    type Store = PostgresStore;

    async fn new() -> Self {
        Self(Place::new())
    }

    async fn open(&self) -> PostgresStore {
        self.0.store().await
    }
}

#[test]
fn server_store_and_the_model_agree() {
    eventsourcing_testing::model::check_against_model::<InSchema>(60);
}
