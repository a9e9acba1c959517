//! [`EventIdentity`]: tells an event apart from every other that could stand in its place.
//!
//! A server that forgets commits assigns the same positions and versions again. Position and
//! version therefore do not prove that an event is the one that was seen before; its identity does.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Position;

/// The first 16 bytes of a SHA-256 over everything a store keeps of an event.
///
/// The hash covers, in this order: the id of the log and of the stream (16 bytes each); position,
/// version and time of recording (microseconds since 1970) in 8 bytes each; schema version in 2
/// bytes and codec in 1; then category, name, metadata and payload, each after its length in 8
/// bytes. Numbers have their highest byte first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventIdentity([u8; 16]);

impl EventIdentity {
    /// Returns the identity with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the identity.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventIdentity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventIdentity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bits = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(bits.to_be_bytes()))
    }
}

/// An event of a log: its position, and the identity that proves it to be the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// The place of the event in its log.
    pub position: Position,
    /// The identity of the event.
    pub identity: EventIdentity,
}

impl fmt::Display for EventRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {} ({})", self.position, self.identity)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::store::{CodecId, LogId, StoredEvent, StreamId, Version};

    fn event() -> StoredEvent {
        StoredEvent {
            position: Position::new(7),
            stream: StreamId::new("jar", Uuid::from_u128(1)),
            version: Version::new(2),
            recorded_at: Timestamp::UNIX_EPOCH,
            name: "Filled".into(),
            schema_version: 1,
            codec: CodecId(1),
            payload: b"payload".to_vec(),
            metadata: b"metadata".to_vec(),
        }
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let log = LogId::from_uuid(Uuid::from_u128(9));
        let identity = EventIdentity::of(&event(), log);
        let others = [
            StoredEvent {
                position: Position::new(8),
                ..event()
            },
            StoredEvent {
                stream: StreamId::new("jar", Uuid::from_u128(2)),
                ..event()
            },
            StoredEvent {
                stream: StreamId::new("box", Uuid::from_u128(1)),
                ..event()
            },
            StoredEvent {
                version: Version::new(3),
                ..event()
            },
            StoredEvent {
                recorded_at: Timestamp::from_microsecond(1).expect("a time"),
                ..event()
            },
            StoredEvent {
                name: "Emptied".into(),
                ..event()
            },
            StoredEvent {
                schema_version: 2,
                ..event()
            },
            StoredEvent {
                codec: CodecId(2),
                ..event()
            },
            StoredEvent {
                payload: b"Payload".to_vec(),
                ..event()
            },
            StoredEvent {
                metadata: b"Metadata".to_vec(),
                ..event()
            },
            // The concatenated fields are the same bytes; only the boundary between two fields
            // differs.
            StoredEvent {
                payload: b"ypayload".to_vec(),
                metadata: b"metadat".to_vec(),
                ..event()
            },
        ];
        for other in &others {
            assert_ne!(EventIdentity::of(other, log), identity, "{other:?}");
        }
        assert_ne!(
            EventIdentity::of(&event(), LogId::from_uuid(Uuid::from_u128(8))),
            identity
        );
        assert_eq!(EventIdentity::of(&event(), log), identity);
    }

    #[test]
    fn identity_is_the_documented_one() {
        let log = LogId::from_uuid(Uuid::from_u128(9));
        let mut bytes = Vec::new();
        bytes.extend(9_u128.to_be_bytes());
        bytes.extend(1_u128.to_be_bytes());
        bytes.extend(7_u64.to_be_bytes());
        bytes.extend(2_u64.to_be_bytes());
        bytes.extend(0_i64.to_be_bytes());
        bytes.extend([0, 1, 1]);
        for part in ["jar", "Filled", "metadata", "payload"] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        assert_eq!(
            EventIdentity::of(&event(), log).as_bytes()[..],
            Sha256::digest(&bytes)[..16]
        );
    }

    #[test]
    fn identity_is_written_as_32_digits() {
        let identity =
            EventIdentity::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let text = serde_json::to_string(&identity).expect("text");
        assert_eq!(text, "\"000102030405060708090a0b0c0d0e0f\"");
        assert_eq!(
            serde_json::from_str::<EventIdentity>(&text).expect("an identity"),
            identity
        );
    }
}
