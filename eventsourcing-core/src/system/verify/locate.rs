//! Locating the events that make the difference between two checksums.
//!
//! A checksum is the number of events and the XOR of their 128-bit digests. So the XOR of two
//! checksums is the digest of the one event by which they differ, or the XOR of the digests of two.
//! More than two events cannot be told apart.

use std::collections::HashMap;

use crate::store::{EventHash, LogChecksum, StoredEvent};
use crate::system::report::{EventPlace, Finding, surplus};

/// An event without its payload.
#[derive(Clone, Debug)]
pub(super) struct EventKey {
    pub(super) digest: EventHash,
    pub(super) place: EventPlace,
}

impl EventKey {
    pub(super) fn new(event: &StoredEvent) -> Self {
        let StoredEvent {
            name,
            stream,
            version,
            position,
            ..
        } = event;
        let place = EventPlace {
            name: name.clone(),
            stream: stream.clone(),
            version: *version,
            position: *position,
        };
        Self {
            digest: EventHash::of(stream, *version),
            place,
        }
    }
}

/// Returns the checksum of these events.
pub(super) fn checksums_of<'a>(events: impl IntoIterator<Item = &'a EventKey>) -> LogChecksum {
    let mut checksums = LogChecksum::default();
    for event in events {
        checksums.merge(LogChecksum {
            count: 1,
            digest: event.digest,
        });
    }
    checksums
}

/// Returns the finding that one or two of `events`, whose checksum is `expected`, explain the noted
/// checksum.
pub(super) fn among(
    events: &[&EventKey],
    expected: LogChecksum,
    noted: LogChecksum,
) -> Option<Finding> {
    let difference = expected.digest ^ noted.digest;
    match surplus(expected, noted) {
        -1 => one_of(events, difference).map(|event| Finding::Missing(vec![event])),
        1 => one_of(events, difference).map(|event| Finding::Doubled(vec![event])),
        0 => two_of(events, difference).map(Finding::Exchanged),
        -2 => two_of(events, difference).map(|both| Finding::Missing(both.into())),
        2 => two_of(events, difference).map(|both| Finding::Doubled(both.into())),
        _ => None,
    }
}

fn one_of(events: &[&EventKey], digest: EventHash) -> Option<EventPlace> {
    events
        .iter()
        .find(|event| event.digest == digest)
        .map(|event| event.place.clone())
}

fn two_of(events: &[&EventKey], difference: EventHash) -> Option<[EventPlace; 2]> {
    let mut seen = HashMap::with_capacity(events.len());
    events.iter().find_map(|event| {
        let other: Option<&&EventKey> = seen.get(&(event.digest ^ difference));
        let found = other.map(|other| [other.place.clone(), event.place.clone()]);
        seen.insert(event.digest, *event);
        found
    })
}

/// Returns the digests of foreign events that would explain the difference, each with the one of
/// `events` that would then be missing.
pub(super) fn strays<'a>(
    events: &[&'a EventKey],
    expected: LogChecksum,
    noted: LogChecksum,
) -> HashMap<EventHash, Option<&'a EventPlace>> {
    let difference = expected.digest ^ noted.digest;
    match surplus(expected, noted) {
        1 => HashMap::from([(difference, None)]),
        0 => events
            .iter()
            .map(|event| (event.digest ^ difference, Some(&event.place)))
            .collect(),
        _ => HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Position, StreamId, Version};
    use uuid::Uuid;

    fn events() -> Vec<EventKey> {
        let place = |version: u64| EventPlace {
            name: "Credited".into(),
            stream: StreamId::new("Account", Uuid::from_u128(7)),
            version: Version::new(version),
            position: Position::new(version * 10),
        };
        let known = |place: EventPlace| EventKey {
            digest: EventHash::of(&place.stream, place.version),
            place,
        };
        (1..=1_000).map(|version| known(place(version))).collect()
    }

    /// Returns the finding for events that were each processed once, except those at some indices,
    /// which were processed `times` times.
    fn finding(times: &[(usize, u64)]) -> Option<Finding> {
        let events = events();
        let all: Vec<_> = events.iter().collect();
        let mut noted = LogChecksum::default();
        for (index, event) in events.iter().enumerate() {
            let times = times
                .iter()
                .find(|(odd, _)| *odd == index)
                .map_or(1, |(_, times)| *times);
            (0..times).for_each(|_| noted.merge(checksums_of([event])));
        }
        among(&all, checksums_of(all.iter().copied()), noted)
    }

    #[test]
    fn one_or_two_events_are_found_by_the_digests() {
        let place = |index: usize| events()[index].place.clone();
        assert_eq!(finding(&[(4, 0)]), Some(Finding::Missing(vec![place(4)])));
        assert_eq!(finding(&[(4, 2)]), Some(Finding::Doubled(vec![place(4)])));
        assert_eq!(
            finding(&[(4, 0), (900, 2)]),
            Some(Finding::Exchanged([place(4), place(900)]))
        );
        assert_eq!(
            finding(&[(4, 2), (900, 0)]),
            Some(Finding::Exchanged([place(4), place(900)]))
        );
        assert_eq!(
            finding(&[(4, 0), (900, 0)]),
            Some(Finding::Missing(vec![place(4), place(900)]))
        );
        assert_eq!(
            finding(&[(4, 2), (900, 2)]),
            Some(Finding::Doubled(vec![place(4), place(900)]))
        );
    }

    #[test]
    fn a_difference_of_more_than_two_events_names_none() {
        assert_eq!(finding(&[(4, 0), (5, 0), (6, 0)]), None);
        assert_eq!(finding(&[(4, 0), (5, 0), (6, 2)]), None);
        assert_eq!(
            finding(&[(4, 3)]),
            None,
            "which event came three times its checksums do not say"
        );
    }

    #[test]
    fn an_event_from_elsewhere_is_known_by_its_digest() {
        let events = events();
        let stray = &events[999];
        let all = events[..999].iter().collect::<Vec<_>>();

        let expected = checksums_of(all.iter().copied());
        let one_more = checksums_of(&events);
        assert_eq!(
            strays(&all, expected, one_more).get(&stray.digest),
            Some(&None)
        );
        let in_its_place =
            checksums_of(events.iter().filter(|event| event.place != events[3].place));
        assert_eq!(among(&all, expected, in_its_place), None);
        assert_eq!(
            strays(&all, expected, in_its_place).get(&stray.digest),
            Some(&Some(&events[3].place))
        );
    }
}
