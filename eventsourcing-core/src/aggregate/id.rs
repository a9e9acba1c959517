//! [`Id`]: the id of an aggregate, which cannot be mistaken for the id of another kind of
//! aggregate.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Aggregate;
use crate::store::StreamId;

/// The UUID namespace of all names given to [`Id::named`]. It must never change: named aggregates
/// would not be found again.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f1d_3c52_67e4_4b0a_9c1e_2a5b_7d90_e6f3);

/// The id of an aggregate of type `A`.
///
/// ```
/// # use eventsourcing_core::{Aggregate, Id, event};
/// # #[derive(Aggregate, serde::Serialize, serde::Deserialize)] struct Account {}
/// # #[event] impl Account { fn opened() -> Self { Self {} } }
/// let id = Id::<Account>::new();
/// let same: Id<Account> = id.to_string().parse().unwrap();
/// assert_eq!(id, same);
/// assert_eq!(Id::<Account>::named("General"), Id::named("General"));
/// ```
pub struct Id<A> {
    uuid: Uuid,
    of: PhantomData<fn() -> A>,
}

impl<A> Id<A> {
    /// A new id, different from every other and later than those made before (UUID version 7).
    #[expect(clippy::new_without_default, reason = "two calls give two values")]
    #[must_use]
    pub fn new() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// Returns the id with these bits.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            of: PhantomData,
        }
    }

    /// The bits of the id.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.uuid
    }
}

impl<A: Aggregate> Id<A> {
    /// Returns the id of the aggregate of this name: always the same for the same name and kind
    /// (UUID version 5).
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::derived(NAMESPACE, name)
    }

    /// Returns the id of the aggregate that `name` stands for within `namespace`.
    pub(crate) fn derived(namespace: Uuid, name: &str) -> Self {
        let kind = Uuid::new_v5(&namespace, A::FIRST_NAME.as_bytes());
        Self::from_uuid(Uuid::new_v5(&kind, name.as_bytes()))
    }

    /// Returns the stream in which the events of this aggregate are stored, unless the stream was
    /// begun under [another name](Aggregate::OTHER_NAMES): see
    /// [`Root::stream`](crate::Root::stream).
    #[must_use]
    pub fn stream(self) -> StreamId {
        self.stream_under(A::NAME)
    }

    /// Returns the stream under one of the names of the aggregate.
    pub(crate) fn stream_under(self, name: &'static str) -> StreamId {
        StreamId {
            category: crate::store::Name::from_static(name),
            id: self.uuid,
        }
    }
}

/// A text cannot be parsed as an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id; an id looks like 0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f")]
pub struct ParseIdError {
    text: String,
}

impl<A> FromStr for Id<A> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match Uuid::try_parse(text) {
            Ok(uuid) => Ok(Self::from_uuid(uuid)),
            Err(_) => Err(ParseIdError {
                text: text.chars().take(60).collect(),
            }),
        }
    }
}

impl<A> fmt::Display for Id<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

impl<A> fmt::Debug for Id<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.uuid)
    }
}

impl<A> Clone for Id<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Id<A> {}

impl<A> PartialEq for Id<A> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<A> Eq for Id<A> {}

impl<A> PartialOrd for Id<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A> Ord for Id<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<A> Hash for Id<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<A> Serialize for Id<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.uuid.serialize(serializer)
    }
}

#[cfg(feature = "schema")]
impl<A> schemars::JsonSchema for Id<A> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

impl<'de, A> Deserialize<'de> for Id<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self::from_uuid)
    }
}
