//! [`EventFilter`]: the events of an aggregate that a follower needs. It skips the others without
//! decoding them, so that unknown events among them do not stop it.

use std::collections::{BTreeSet, HashSet};
use std::marker::PhantomData;

use super::followed_events::AggregateEvents;
use crate::store::{StoreError, StoredEvent};
use crate::{Aggregate, Event, LegacyEvent, RecordedEvent};

/// The events of `A` that a follower needs.
pub(crate) struct EventFilter<A> {
    /// `None`: all events.
    only: Option<Only>,
    of: PhantomData<fn() -> A>,
}

struct Only {
    /// The indices of the needed variants in [`Event::TYPES`].
    indices: HashSet<usize>,
    /// The stored names whose events can decode to these variants.
    names: HashSet<&'static str>,
}

impl<A: Aggregate> EventFilter<A> {
    pub(crate) fn all() -> Self {
        Self {
            only: None,
            of: PhantomData,
        }
    }

    /// Keeps only the events of the given variants.
    ///
    /// # Panics
    /// If there is no such variant.
    pub(crate) fn only(variants: &[&str]) -> Self {
        let indices: HashSet<_> = variants
            .iter()
            .map(|variant| index_of::<A>(variant))
            .collect();
        let current = indices.iter().map(|index| A::Event::TYPES[*index].name);
        // A legacy event without an index is split into others by code of the user, so any of the
        // needed variants may come of it.
        let is_wanted = |former: &&LegacyEvent<A::Event>| match former.index() {
            Some(index) => indices.contains(&index),
            None => !former.is_retired(),
        };
        let former = A::Event::FORMER
            .iter()
            .filter(is_wanted)
            .map(LegacyEvent::name);
        let names = current.chain(former).collect();
        Self {
            only: Some(Only { indices, names }),
            of: PhantomData,
        }
    }

    /// Returns the stored names of the needed, the known and the retired events.
    pub(crate) fn names(&self) -> AggregateEvents {
        let former = A::Event::FORMER.iter();
        let retired: BTreeSet<_> = former
            .clone()
            .filter(|former| former.is_retired())
            .map(LegacyEvent::name)
            .collect();
        let current = A::Event::TYPES.iter().map(|event| event.name);
        let known: BTreeSet<_> = current.chain(former.map(LegacyEvent::name)).collect();
        let needed = match &self.only {
            Some(only) => only.names.iter().copied().collect(),
            None => known.difference(&retired).copied().collect(),
        };
        AggregateEvents {
            are_all: self.only.is_none(),
            needed,
            known,
            retired,
        }
    }

    /// Decodes `stored` and returns the needed events among the results.
    pub(crate) fn decode(
        &self,
        stored: &StoredEvent,
    ) -> Result<impl Iterator<Item = RecordedEvent<A>>, StoreError> {
        let needed = self
            .only
            .as_ref()
            .is_none_or(|only| only.names.contains(stored.name.as_str()));
        let events = if needed {
            Some(RecordedEvent::decode(stored)?)
        } else {
            None
        };
        let is_needed = |event: &RecordedEvent<A>| match &self.only {
            None => true,
            Some(only) => only.indices.contains(&event.payload.index()),
        };
        Ok(events.into_iter().flatten().filter(is_needed))
    }
}

fn index_of<A: Aggregate>(variant: &str) -> usize {
    let known = A::Event::VARIANTS;
    known
        .iter()
        .position(|known| *known == variant)
        .unwrap_or_else(|| {
            panic!(
                "{} has no event `{variant}`; it has {}",
                A::NAME,
                known.join(", ")
            )
        })
}
