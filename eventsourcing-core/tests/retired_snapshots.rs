//! A snapshot is retired when the state or the fold changes. Each release finds the snapshot of the first one, which contradicts
//! the events: a release that uses it has 1,000 beans, one that replays the events has 3.
#![allow(clippy::unwrap_used)]

use eventsourcing_core::store::{Append, EventStore, MemoryStore, NewSnapshot};
use eventsourcing_core::{Aggregate, Application, Codec, Id, Root, event};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! release {
    ($name:ident, $($definition:tt)*) => {
        mod $name {
            #![allow(dead_code)]
            use super::*;

            $($definition)*

            pub(crate) async fn beans(store: &MemoryStore) -> u32 {
                let id: Id<Jar> = Id::from_uuid(ID);
                Application::new("jars", store.clone()).load(id).await.unwrap().beans
            }
        }
    };
}

const ID: Uuid = Uuid::from_u128(7);

release! { first,
    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self { Self { beans } }
    }
}

release! { unchanged,
    /// A jar, with documentation that changes nothing.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(snapshot = every(3))]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self {
            Self { beans }
        }
    }
}

release! { another_shape,
    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar { pub(crate) beans: u32, #[serde(default)] peas: u32 }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self { Self { beans, peas: 0 } }
    }
}

release! { another_fold,
    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self { Self { beans: beans.max(1) } }
    }
}

release! { another_version,
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(snapshot_version = 2)]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self { Self { beans } }
    }
}

release! { another_upcaster,
    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event]
    impl Jar {
        #[event(version = 2, upcast(from = 1, with = unchanged))]
        fn filled(beans: u32) -> Self { Self { beans } }
    }

    fn unchanged(old: serde_json::Value) -> serde_json::Value { old }
}

release! { another_retired_event,
    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar { pub(crate) beans: u32 }

    #[event(retired("Painted"))]
    impl Jar {
        fn filled(beans: u32) -> Self { Self { beans } }
    }
}

/// A jar with 3 beans, and a snapshot of the first release with 1,000.
async fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let id = Id::from_uuid(ID);

    let mut jar = Root::<first::Jar>::with_id(id, first::JarEvent::Filled { beans: 3 });
    Application::new("jars", store.clone())
        .save(&mut jar)
        .await
        .unwrap();
    let snapshot = NewSnapshot {
        stream: id.stream(),
        version: jar.version(),
        fingerprint: <first::Jar as Aggregate>::FINGERPRINT,
        codec: Codec::Json.id(),
        payload: br#"{"beans":1000}"#.to_vec(),
    };
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_snapshot(snapshot))
        .await
        .unwrap();
    store
}

#[tokio::test]
async fn a_snapshot_is_used_while_nothing_has_changed() {
    let store = store().await;
    assert_eq!(first::beans(&store).await, 1_000);
    assert_eq!(unchanged::beans(&store).await, 1_000);
}

#[tokio::test]
async fn a_snapshot_retires_when_the_shape_of_the_state_changes() {
    assert_eq!(another_shape::beans(&store().await).await, 3);
}

#[tokio::test]
async fn a_snapshot_retires_when_the_source_of_the_fold_changes() {
    assert_eq!(another_fold::beans(&store().await).await, 3);
}

#[tokio::test]
async fn a_snapshot_retires_when_its_version_changes() {
    assert_eq!(another_version::beans(&store().await).await, 3);
}

#[tokio::test]
async fn a_snapshot_retires_when_an_upcaster_or_a_retired_event_is_added() {
    assert_eq!(another_upcaster::beans(&store().await).await, 3);
    assert_eq!(another_retired_event::beans(&store().await).await, 3);
}
