//! [`MemoryStore`] passes the conformance suite.

use eventsourcing_core::store::{MemoryBackup, MemoryStore};
use eventsourcing_testing::conformance::{Fixture, RevertingFixture};

struct InMemory(MemoryStore);

impl Fixture for InMemory {
    type Store = MemoryStore;

    async fn new() -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

impl RevertingFixture for InMemory {
    type Moment = MemoryBackup;

    async fn keep(&self) -> MemoryBackup {
        self.0.backup()
    }

    async fn go_back(&self, moment: &MemoryBackup) {
        self.0.restore(moment);
    }
}

eventsourcing_testing::conformance!(InMemory, reverting);

#[test]
fn store_in_memory_and_the_model_agree() {
    eventsourcing_testing::model::check_against_model::<InMemory>(1_000);
}

/// A store that implements [`EventStore`](eventsourcing_core::store::EventStore) alone is enough for an application.
mod events_only {
    use async_trait::async_trait;
    use eventsourcing_core::store::{
        Append, Appended, CommandId, Epoch, EventStore, Load, Loaded, LogId, LogPage, LogQuery,
        MemoryStore, Position, Receipt, StoreError, StoredEvent, StreamQuery, VisibleLog,
    };
    use eventsourcing_core::{Aggregate, Application, CommandError, event};
    use eventsourcing_testing::conformance::Fixture;
    use serde::{Deserialize, Serialize};

    #[derive(Clone)]
    struct EventsOnly(MemoryStore);

    #[async_trait]
    impl EventStore for EventsOnly {
        async fn append(&self, append: Append) -> Result<Appended, StoreError> {
            if append.tracking.is_some() {
                return Err(StoreError::Invalid {
                    reason: "this store keeps no followers".into(),
                });
            }
            self.0.append(append).await
        }

        async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
            self.0.read_stream(query).await
        }

        async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
            self.0.load(load).await
        }

        async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
            self.0.read_log(query).await
        }

        async fn head(&self) -> Result<Position, StoreError> {
            self.0.head().await
        }

        async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
            self.0.visible(position).await
        }

        async fn newest_position(&self) -> Result<Position, StoreError> {
            self.0.newest_position().await
        }

        async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
            self.0.receipt(command_id).await
        }

        async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
            self.0.rejection(command_id).await
        }

        async fn wait_beyond(
            &self,
            position: Position,
            epoch: Option<Epoch>,
        ) -> Result<Position, StoreError> {
            self.0.wait_beyond(position, epoch).await
        }

        fn epoch(&self) -> Epoch {
            self.0.epoch()
        }

        fn log_id(&self) -> LogId {
            self.0.log_id()
        }
    }

    struct Place(EventsOnly);

    impl Fixture for Place {
        type Store = EventsOnly;

        async fn new() -> Self {
            Self(EventsOnly(MemoryStore::new()))
        }

        async fn open(&self) -> EventsOnly {
            self.0.clone()
        }
    }

    eventsourcing_testing::conformance!(Place, events);

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    struct Jar {
        beans: u32,
    }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self {
            Self { beans }
        }
        fn taken(&mut self, beans: u32) {
            self.beans -= beans;
        }
    }

    impl Jar {
        fn take(&self, beans: u32) -> Result<JarEvent, String> {
            let left = self.beans.checked_sub(beans);
            left.map(|_| JarEvent::Taken { beans })
                .ok_or_else(|| format!("only {} are left", self.beans))
        }
    }

    #[tokio::test]
    async fn application_needs_no_more_for_commands_and_kept_rejections() {
        let app = Application::new("jars", EventsOnly(MemoryStore::new()));
        let begun = app.create(|| JarEvent::Filled { beans: 3 });
        let jar = begun.await.expect("the store takes it").id;
        let mut subscription = app.subscribe(LogQuery::after(Position::ZERO));

        let command = app.command(CommandId::new());
        let refused = command.once(command.update(jar, |jar| jar.take(5))).await;
        let reason = "only 3 are left";
        assert!(matches!(&refused, Err(CommandError::Rejected(why)) if why == reason));
        app.update(jar, |jar| jar.take(3))
            .await
            .expect("there are 3");
        let again = command.once(command.update(jar, |jar| jar.take(0))).await;
        assert!(matches!(&again, Err(CommandError::Rejected(why)) if why == reason));

        for name in ["Filled", "Taken"] {
            let event = subscription.next().await.expect("it does not end");
            assert_eq!(event.expect("the log can be read").name.as_str(), name);
        }
    }
}
