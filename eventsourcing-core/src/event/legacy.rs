//! [`LegacyEvent`]: how this release reads events that earlier ones stored under other names and
//! versions.
//!
//! Stored events are never rewritten. They are upcast each time they are read, so only the
//! upcasters know the earlier shapes. Each upcaster reads and writes payloads, independent of the
//! codec that wrote the first one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::codec::Fields;
use crate::store::{BoxError, CodecId, EncodedEvent, StoredEvent};
use crate::{Codec, CodecError, Event};

/// Converts a payload to the next version.
pub type Upcaster = fn(&StoredPayload<'_>) -> Result<Vec<u8>, BoxError>;

/// Converts a payload to the events that are read in its place.
pub type Splitter<E> = fn(&StoredPayload<'_>) -> Result<Vec<E>, BoxError>;

/// A stored name under which no event is recorded any more, and how stored events of that name are
/// read. Written by [`#[event]`](macro@crate::event).
pub struct LegacyEvent<E: 'static> {
    name: &'static str,
    reading: Reading<E>,
}

enum Reading<E: 'static> {
    /// One event, at `index` of `TYPES`; each upcaster leads from one version to the next.
    As {
        index: usize,
        upcasters: &'static [Upcaster],
    },
    /// Several events.
    Split { version: u16, splitter: Splitter<E> },
    /// No event.
    Retired,
}

impl<E> LegacyEvent<E> {
    /// Reads events of the name as the event at `index` of [`Event::TYPES`]: the first of the
    /// `upcasters` leads from version 1 to version 2.
    #[must_use]
    pub const fn read_as(name: &'static str, index: usize, upcasters: &'static [Upcaster]) -> Self {
        Self {
            name,
            reading: Reading::As { index, upcasters },
        }
    }

    /// Reads events of the name, in this version, as several events.
    #[must_use]
    pub const fn split(name: &'static str, version: u16, splitter: Splitter<E>) -> Self {
        Self {
            name,
            reading: Reading::Split { version, splitter },
        }
    }

    /// Skips events of the name, in every version.
    #[must_use]
    pub const fn retired(name: &'static str) -> Self {
        Self {
            name,
            reading: Reading::Retired,
        }
    }

    /// Returns the stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the index in [`Event::TYPES`] of the event that is read instead; `None` if the event
    /// is split or retired.
    #[must_use]
    pub const fn index(&self) -> Option<usize> {
        match self.reading {
            Reading::As { index, .. } => Some(index),
            Reading::Split { .. } | Reading::Retired => None,
        }
    }

    /// Returns `true` if nothing is read in its place.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        matches!(self.reading, Reading::Retired)
    }

    /// Returns the highest version that can be read; `None`: every version.
    #[must_use]
    pub const fn version_max(&self) -> Option<u16> {
        match self.reading {
            Reading::As { upcasters, .. } => Some(upcasters.len() as u16 + 1),
            Reading::Split { version, .. } => Some(version),
            Reading::Retired => None,
        }
    }

    fn reads(&self, name: &str, version: u16) -> bool {
        self.name == name
            && match self.reading {
                Reading::As { upcasters, .. } => {
                    (1..=upcasters.len() + 1).contains(&usize::from(version))
                }
                Reading::Split { version: known, .. } => version == known,
                Reading::Retired => true,
            }
    }
}

impl<E> fmt::Debug for LegacyEvent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index();
        let version_max = self.version_max();

        f.debug_struct("LegacyEvent")
            .field("name", &self.name)
            .field("index", &index)
            .field("version_max", &version_max)
            .finish()
    }
}

/// A payload as it is stored, or as the last upcaster wrote it.
#[derive(Clone, Copy, Debug)]
pub struct StoredPayload<'a> {
    codec: CodecId,
    bytes: &'a [u8],
}

impl StoredPayload<'_> {
    /// Reads the payload as a value of a type that serde can deserialize.
    ///
    /// A self-describing type such as `serde_json::Value` knows JSON, and may refuse bytes and
    /// numeric keys, which only MessagePack has. For such a type the payload is converted to JSON
    /// first.
    ///
    /// # Errors
    /// The bytes are not such a value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, BoxError> {
        let what = || "payload of an earlier version".into();
        match Codec::read(self.codec, self.bytes, PhantomData, what) {
            Err(CodecError::Decode { .. }) if !self.is_json() => {
                let value = Codec::read_value(self.codec, self.bytes, what)?;
                T::deserialize(value).map_err(|source| {
                    CodecError::Decode {
                        what: what(),
                        source: source.into(),
                    }
                    .into()
                })
            }
            read => Ok(read?),
        }
    }

    fn is_json(&self) -> bool {
        matches!(Codec::from_id(self.codec), Ok(Codec::Json))
    }
}

/// The events decoded from a stored one: one, unless it was split or retired.
#[derive(Debug)]
pub struct DecodedEvents<E>(Events<E>);

#[derive(Debug)]
enum Events<E> {
    One(Option<E>),
    Several(std::vec::IntoIter<E>),
}

impl<E> DecodedEvents<E> {
    fn one(event: E) -> Self {
        Self(Events::One(Some(event)))
    }

    fn several(events: Vec<E>) -> Self {
        Self(Events::Several(events.into_iter()))
    }
}

impl<E> Iterator for DecodedEvents<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        match &mut self.0 {
            Events::One(event) => event.take(),
            Events::Several(events) => events.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Events::One(event) => (
                usize::from(event.is_some()),
                Some(usize::from(event.is_some())),
            ),
            Events::Several(events) => events.size_hint(),
        }
    }
}

impl<E> ExactSizeIterator for DecodedEvents<E> {}

impl Codec {
    /// Decodes `stored`, independent of the codec and release that wrote it: into one event, or
    /// into several or none if it was split or retired since.
    ///
    /// # Errors
    /// Every [`CodecError`] but `Encode`.
    pub fn decode_events<E: Event>(stored: &StoredEvent) -> Result<DecodedEvents<E>, CodecError> {
        decode(stored.into())
    }
}

/// Decodes a stored event, upcasting it where needed.
pub(crate) fn decode<E: Event>(stored: EncodedEvent<'_>) -> Result<DecodedEvents<E>, CodecError> {
    let name = stored.name.as_str();
    match E::TYPES.iter().position(|known| known.name == name) {
        Some(index) if E::TYPES[index].version == stored.schema_version => {
            let what = || format!("event {name}");
            Codec::read(stored.codec, stored.payload, Fields::new(index), what)
                .map(DecodedEvents::one)
        }
        _ => decode_former(stored),
    }
}

fn decode_former<E: Event>(stored: EncodedEvent<'_>) -> Result<DecodedEvents<E>, CodecError> {
    let name = stored.name.as_str();
    let version = stored.schema_version;

    let former = E::FORMER.iter().find(|former| former.reads(name, version));
    match former.ok_or_else(|| unknown::<E>(name, version))?.reading {
        Reading::As { index, upcasters } => {
            let upcasters = &upcasters[usize::from(version) - 1..];
            bring_up_to_date(stored, index, upcasters).map(DecodedEvents::one)
        }
        Reading::Split { splitter, .. } => {
            let payload = StoredPayload {
                codec: stored.codec,
                bytes: stored.payload,
            };
            let events = splitter(&payload);
            let failed = |source| CodecError::Split {
                name: name.into(),
                version,
                source,
            };
            events.map(DecodedEvents::several).map_err(failed)
        }
        Reading::Retired => Ok(DecodedEvents::several(Vec::new())),
    }
}

fn bring_up_to_date<E: Event>(
    stored: EncodedEvent<'_>,
    index: usize,
    upcasters: &[Upcaster],
) -> Result<E, CodecError> {
    let mut codec = stored.codec;
    let mut bytes = stored.payload;

    let mut upcast;
    for (upcaster, from) in upcasters.iter().zip(stored.schema_version..) {
        let failed = |source| CodecError::Upcast {
            name: stored.name.to_string(),
            from,
            to: from + 1,
            source,
        };
        upcast = upcaster(&StoredPayload { codec, bytes }).map_err(failed)?;
        // Upcasters return JSON, even if the stored payload has another codec.
        codec = Codec::Json.id();
        bytes = &upcast;
    }
    let what = || {
        let found = stored.schema_version;
        let known = E::TYPES[index].version;

        format!(
            "event {}, upcast from version {found} to {known}",
            stored.name
        )
    };
    Codec::read(codec, bytes, Fields::new(index), what)
}

fn unknown<E: Event>(name: &str, found: u16) -> CodecError {
    let formers = E::FORMER
        .iter()
        .map(|former| (former.name, former.version_max().unwrap_or(u16::MAX)));
    let known = E::TYPES
        .iter()
        .map(|known| (known.name, known.version))
        .chain(formers);
    match known
        .clone()
        .filter(|(known, _)| *known == name)
        .map(|(_, version)| version)
        .max()
    {
        Some(known) => CodecError::UnknownVersion {
            name: name.into(),
            found,
            known,
        },
        None => {
            let known: Vec<_> = E::TYPES.iter().map(|known| known.name).collect();
            CodecError::UnknownEvent {
                name: name.into(),
                known: known.join(", "),
            }
        }
    }
}
