//! P31: checksums state the number and the identity of events.

use std::collections::BTreeMap;

use eventsourcing_core::store::{
    AuditStore, EventHash, EventStore, Expected, Filter, LogChecksum, LogChecksumsQuery, LogSlice,
    Name, NewEvent, Position, StoredEvent, StreamId, Version,
};
use uuid::Uuid;

use super::FollowerFixture;
use super::assertions::log_of;
use super::builders::{
    CATEGORY, OTHER_CATEGORY, append, append_to, event, named_event, other_stream, stream,
};

async fn checksums_of(
    store: &impl AuditStore,
    query: LogChecksumsQuery,
) -> BTreeMap<LogSlice, LogChecksum> {
    store.checksums(query).await.expect("figures can be read")
}

/// P31: Checksums equal those computed from the events: for each slice, in any range, through any filter.
pub async fn checksums_are_what_counting_by_hand_gives<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    write_more_than_a_slice(&store).await;
    let by_hand = ByHand::new(log_of(&fixture.open().await).await);
    let end = by_hand.events.last().expect("there are events").0.position;
    for filter in filters() {
        let query = LogChecksumsQuery {
            filter,
            ..LogChecksumsQuery::new(Position::ZERO, end)
        };
        assert_eq!(
            checksums_of(&store, query.clone()).await,
            by_hand.count(&query),
            "{query:?}"
        );
    }
    for (after, to) in by_hand.ranges() {
        for filter in [
            Filter::all(),
            Filter {
                names: vec![RARE],
                ..Filter::all()
            },
        ] {
            let query = LogChecksumsQuery {
                filter,
                ..LogChecksumsQuery::new(after, to)
            };
            assert_eq!(
                checksums_of(&store, query.clone()).await,
                by_hand.count(&query),
                "{query:?}"
            );
        }
    }
}

const RARE: Name = Name::from_static("Rare");

/// Writes 12,000 events, a thousand of them in streams of their own.
async fn write_more_than_a_slice(store: &impl EventStore) {
    let one = stream();
    let two = other_stream();
    let three = StreamId::new(CATEGORY, Uuid::now_v7());

    let events = |count: usize| -> Vec<NewEvent> {
        (0..count)
            .map(|number| {
                if number % 100 == 7 {
                    named_event("Rare", "")
                } else {
                    event("")
                }
            })
            .collect()
    };
    for big in [&two, &three] {
        let big = append()
            .with_events(one.clone(), Expected::Any, events(2_000))
            .with_events((*big).clone(), Expected::Any, events(3_000));
        store.append(big).await.expect("any version");
    }
    for half in 0..2 {
        let singles = (0..500).fold(
            append_to(&one, "").with_events(two.clone(), Expected::Any, events(499)),
            |append, _| {
                let single = if half == 0 { stream() } else { other_stream() };
                append.with_events(single, Expected::NoStream, events(1))
            },
        );
        store.append(singles).await.expect("any version");
    }
}

fn filters() -> Vec<Filter> {
    let all = Filter::all;
    vec![
        all(),
        Filter {
            categories: vec![OTHER_CATEGORY],
            ..all()
        },
        Filter {
            categories: vec![OTHER_CATEGORY, CATEGORY],
            names: vec![RARE],
            ..all()
        },
        Filter {
            first_of_stream: true,
            ..all()
        },
        Filter {
            categories: vec![CATEGORY],
            first_of_stream: true,
            ..all()
        },
        Filter {
            names: vec!["Happened".into()],
            categories: vec![OTHER_CATEGORY],
            first_of_stream: true,
        },
        Filter {
            categories: vec!["account".into()],
            ..all()
        },
        Filter {
            names: vec!["Never".into(), "rare".into()],
            ..all()
        },
    ]
}

/// The events of the log with their digests.
struct ByHand {
    events: Vec<(StoredEvent, u128)>,
}

impl ByHand {
    fn new(log: Vec<StoredEvent>) -> Self {
        let digest = |event: &StoredEvent| EventHash::of(&event.stream, event.version).to_bits();
        Self {
            events: log
                .into_iter()
                .map(|event| (event.clone(), digest(&event)))
                .collect(),
        }
    }

    fn count(&self, query: &LogChecksumsQuery) -> BTreeMap<LogSlice, LogChecksum> {
        let LogChecksumsQuery { after, to, filter } = query;
        let mut slices = BTreeMap::<_, (u64, u128)>::new();
        for (event, digest) in &self.events {
            let within = *after < event.position && event.position <= *to;
            let category =
                filter.categories.is_empty() || filter.categories.contains(&event.stream.category);
            let name = filter.names.is_empty() || filter.names.contains(&event.name);
            let first = !filter.first_of_stream || event.version.as_u64() == 1;
            if within && category && name && first {
                let slice = slices
                    .entry((event.position.as_u64() - 1) / 10_000)
                    .or_default();
                *slice = (slice.0 + 1, slice.1 ^ digest);
            }
        }
        let checksums = |(count, digest)| LogChecksum {
            count,
            digest: EventHash::from_bits(digest),
        };
        slices
            .into_iter()
            .map(|(slice, counted)| (LogSlice::new(slice), checksums(counted)))
            .collect()
    }

    /// Returns positions around the borders of slices, and around some events.
    fn ranges(&self) -> Vec<(Position, Position)> {
        let at = |index: usize| self.events[index].0.position;
        let end = at(self.events.len() - 1);
        let before = |position: Position| Position::new(position.as_u64() - 1);
        let mut ranges = vec![
            (at(10), at(20)),
            (before(at(4_000)), at(4_000)),
            (at(4_000), at(4_000)),
            (at(11_990), end),
        ];
        let mut slice = LogSlice::of(at(0));
        while slice.end() < end {
            let border = slice.end();
            let after = Position::new(slice.end().as_u64() + 1);

            ranges.extend([
                (before(border), border),
                (border, after),
                (before(border), after),
                (slice.start(), border),
            ]);
            slice = LogSlice::of(after);
        }
        ranges
    }
}

/// P31: There are no checksums of an empty range, an empty log, or a range whose end is before its beginning.
pub async fn checksums_of_nothing_are_none<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    assert_eq!(
        checksums_of(
            &store,
            LogChecksumsQuery::new(Position::ZERO, Position::ZERO)
        )
        .await,
        BTreeMap::new()
    );
    let position = store
        .append(append_to(&stream(), "one"))
        .await
        .expect("any version")
        .receipt
        .position;
    for (after, to) in [
        (Position::ZERO, Position::ZERO),
        (position, position),
        (position, Position::ZERO),
    ] {
        assert_eq!(
            checksums_of(&store, LogChecksumsQuery::new(after, to)).await,
            BTreeMap::new(),
            "from {after} to {to}"
        );
    }
    let others = LogChecksumsQuery::new(Position::ZERO, position).categories(["Nobody"]);
    assert_eq!(
        checksums_of(&store, others).await,
        BTreeMap::new(),
        "nothing passes the filter"
    );
}

/// P31: The digest of an event is the documented one, because checksums of different stores are compared.
pub async fn digest_of_an_event_is_the_documented_one<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = StreamId::new(
        "Gr\u{f6}\u{df}e",
        Uuid::from_u128(0x0192_a7e4_6f2b_7c3d_8e4f_5a6b_7c8d_9e0f),
    );
    // `sha256sum` of the 16 bytes of the id, 00 00 00 00 00 00 00 01 and the category, and the same with 02.
    for (version, digest) in [
        (Version::new(1), 0x0e0f_75cb_a538_979b_e797_3f39_383e_9229),
        (Version::new(2), 0xbe9c_5cd5_3796_aa38_4ac2_a04e_4695_0296),
    ] {
        let position = store
            .append(append_to(&stream, ""))
            .await
            .expect("any version")
            .receipt
            .position;
        let checksums =
            checksums_of(&store, LogChecksumsQuery::new(Position::ZERO, position)).await;
        let mut sum = LogChecksum::default();
        checksums.into_values().for_each(|slice| sum.merge(slice));
        let expected = LogChecksum {
            count: version.as_u64(),
            digest: EventHash::from_bits(digest),
        };
        assert_eq!(sum, expected, "of all events up to version {version}");
    }
}
