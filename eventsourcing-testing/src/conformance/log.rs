//! P15 to P19, P37 and P41: reads of the log, also during writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsourcing_core::store::{
    CommandId, EventStore, Expected, Filter, LogQuery, Position, StoredEvent, StreamId,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::assertions::{
    assert_positions_grow, follow, head_of, log_of, newest_of, positions_of, texts_of,
};
use super::builders::{
    CATEGORY, OTHER_CATEGORY, append, append_to, event, named_event, numbered_events, other_stream,
    snapshot, stream,
};
use super::concurrency::{drop_midway, finished, open_many};
use super::writer::{Writer, be_refused_in_every_way};
use super::{Fixture, FollowerFixture};
use crate::Seed;

/// P15: Pages come in position order; following each page's ceiling visits every event once.
pub async fn following_ceilings_visits_every_event_once_in_order<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let streams = [stream(), stream(), other_stream()];

    let mut expected = Vec::new();
    for number in 0..25 {
        let stream = &streams[number % streams.len()];
        let texts = [format!("{number} a"), format!("{number} b")];
        let events = texts.iter().map(|text| event(text)).collect();
        store
            .append(append().with_events(stream.clone(), Expected::Any, events))
            .await
            .expect("any version");
        expected.extend(texts);
    }
    let fresh = fixture.open().await;
    for limit in [1, 2, 3, 7, 49, 50, 51, usize::MAX] {
        let events = follow_pages(&fresh, limit).await;
        assert_eq!(texts_of(&events), expected, "with pages of {limit}");
        assert_positions_grow(&events);
    }
}

async fn follow_pages(store: &impl EventStore, limit: usize) -> Vec<StoredEvent> {
    let head = head_of(store).await;
    let mut after = Position::ZERO;
    let mut events = Vec::new();

    while after < head {
        let page = store
            .read_log(LogQuery::after(after).limit(limit))
            .await
            .expect("the log can be read");
        assert!(
            page.events.len() <= limit,
            "a page of {} events, {limit} were asked for",
            page.events.len()
        );
        assert!(
            page.ceiling > after,
            "the log is at rest: each page moves on"
        );
        assert!(
            page.events
                .iter()
                .all(|event| after < event.position && event.position <= page.ceiling)
        );
        events.extend(page.events);
        after = page.ceiling;
    }
    events
}

/// P15: The ceiling is never before the requested position, and a limit of 0 counts as 1.
pub async fn ceiling_is_never_before_the_position_asked_for<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let page = store
        .read_log(LogQuery::after(Position::ZERO))
        .await
        .expect("an empty log can be read");
    assert_eq!((page.events, page.ceiling), (vec![], Position::ZERO));
    store
        .append(append().with_events(stream(), Expected::Any, numbered_events(3)))
        .await
        .expect("any version");

    let head = head_of(&store).await;
    for after in [head, Position::new(head.as_u64() + 1_000), Position::MAX] {
        let page = store
            .read_log(LogQuery::after(after))
            .await
            .expect("the log can be read");
        assert_eq!((page.events, page.ceiling), (vec![], after));
    }
    let page = store
        .read_log(LogQuery {
            limit: 0,
            ..LogQuery::after(Position::ZERO)
        })
        .await;
    assert_eq!(
        page.expect("the log can be read").events.len(),
        1,
        "a limit of 0 counts as 1"
    );
}

/// P41: A page reaches at least to the position up to which its reader knows the log to be decided, unless its limit ends it
/// before, and has every event up to there.
pub async fn page_reaches_as_far_as_its_reader_knows_the_log_to_be_decided<F: Fixture>(
    fixture: &F,
) {
    let writer = fixture.open().await;
    let reader = fixture.open().await;
    for number in 0..5 {
        let number = number.to_string();
        writer
            .append(append_to(&stream(), &number))
            .await
            .expect("any version");
        writer
            .append(append_to(&other_stream(), &number))
            .await
            .expect("any version");
    }
    let all = log_of(&writer).await;
    let head = head_of(&writer).await;
    for limit in [1, 3, 10, 11] {
        let query = LogQuery::after(Position::ZERO)
            .limit(limit)
            .decided_up_to(head);
        let page = reader
            .read_log(query.clone())
            .await
            .expect("the log can be read");
        let expected = &all[..limit.min(all.len())];
        assert_eq!(
            texts_of(&page.events),
            texts_of(expected),
            "with a limit of {limit}"
        );
        let ceiling = if limit < all.len() {
            expected[limit - 1].position
        } else {
            head
        };
        assert_eq!(page.ceiling, ceiling, "with a limit of {limit}");

        let page = reader
            .read_log(query.categories([OTHER_CATEGORY]))
            .await
            .expect("the log can be read");
        assert!(
            page.events
                .iter()
                .all(|event| event.stream.category == OTHER_CATEGORY),
            "what is wanted"
        );
        assert_eq!(page.events.len(), limit.min(5), "with a limit of {limit}");
    }
    let beyond = Position::new(head.as_u64() + 7);
    let page = reader
        .read_log(LogQuery::after(head).decided_up_to(beyond))
        .await
        .expect("the log can be read");
    assert_eq!(
        (page.events, page.ceiling),
        (vec![], beyond),
        "its reader knows that nothing can appear before that"
    );
}

/// P16: A reader that always continues from the last ceiling sees every acknowledged event exactly once while writers
/// are slow, fail, roll back, and commit out of order.
pub async fn reader_that_follows_ceilings_sees_every_acknowledged_event_once<F: Fixture>(
    fixture: &F,
) {
    let seed = Seed::from_env();
    let streams = [stream(), stream(), other_stream()];
    let (finish, at_end) = watch::channel(None);
    let mut readers = Vec::new();
    for query in reader_queries() {
        readers.push(tokio::spawn(follow_until(
            fixture.open().await,
            query,
            at_end.clone(),
        )));
    }
    let mut writers = Vec::new();
    for name in 0..4 {
        let writer = Writer {
            name,
            store: fixture.open().await,
            streams: streams.clone(),
            rng: seed.rng(name),
        };
        writers.push(tokio::spawn(writer.write::<F>()));
    }
    let acknowledged: HashSet<String> = finished::<F, _>(writers)
        .await
        .into_iter()
        .flatten()
        .collect();

    let log = log_of(&fixture.open().await).await;
    let texts: HashSet<String> = texts_of(&log).into_iter().collect();
    assert_eq!(texts.len(), log.len(), "no event is there twice");
    assert_eq!(
        texts, acknowledged,
        "what was acknowledged is there, what was refused is not"
    );
    finish.send_replace(log.last().map(|event| event.position));
    for (seen, query) in finished::<F, _>(readers)
        .await
        .into_iter()
        .zip(reader_queries())
    {
        let expected: Vec<_> = log
            .iter()
            .filter(|event| query.filter.allows(event))
            .collect();
        assert_eq!(
            positions_of(&seen),
            expected
                .iter()
                .map(|event| event.position)
                .collect::<Vec<_>>(),
            "{query:?}"
        );
        assert!(seen.iter().eq(expected), "{query:?}");
    }
}

fn reader_queries() -> [LogQuery; 5] {
    let start = || LogQuery::after(Position::ZERO);
    [
        start().limit(1),
        start().limit(3),
        start(),
        start().limit(2).categories([OTHER_CATEGORY]),
        start().limit(10).categories([CATEGORY]).names(["Happened"]),
    ]
}

async fn follow_until(
    store: impl EventStore,
    mut query: LogQuery,
    at_end: watch::Receiver<Option<Position>>,
) -> Vec<StoredEvent> {
    let mut seen = Vec::new();
    let mut idle_polls = 0_u32;

    loop {
        let end = *at_end.borrow();
        if end.is_some_and(|end| end <= query.after) {
            return seen;
        }
        let page = store
            .read_log(query.clone())
            .await
            .expect("the log can be read");
        assert!(
            page.events
                .iter()
                .all(|event| query.after < event.position && event.position <= page.ceiling)
        );
        idle_polls = if page.ceiling == query.after {
            idle_polls + 1
        } else {
            0
        };
        seen.extend(page.events);
        query.after = page.ceiling;
        // The reader polls eagerly, so that it reads in the middle of appends, and sleeps after 16 idle polls, so that it does not
        // starve the writers.
        if idle_polls % 16 == 15 {
            sleep(Duration::from_millis(1)).await;
        }
        tokio::task::yield_now().await;
    }
}

/// P17: A filter (categories, event names, first of stream) returns the same events as filtering the whole log.
pub async fn filter_returns_what_filtering_by_hand_would<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    for category in ["Account", "Transfer", "account", "Accounts"] {
        let stream = StreamId::new(category, stream().id);
        for name in ["Opened", "Closed", "opened", "Closed"] {
            let append = append().with_events(
                stream.clone(),
                Expected::Any,
                vec![named_event(name, category)],
            );
            store.append(append).await.expect("any version");
        }
    }
    let log = log_of(&store).await;
    for filter in filters() {
        for limit in [1, 3, 1_000] {
            let query = LogQuery {
                filter: filter.clone(),
                ..LogQuery::after(Position::ZERO).limit(limit)
            };
            let by_hand: Vec<_> = log
                .iter()
                .filter(|event| filter.allows(event))
                .cloned()
                .collect();
            assert_eq!(follow(&store, query.clone()).await, by_hand, "{query:?}");
        }
    }
}

fn filters() -> Vec<Filter> {
    let categories = [
        vec![],
        vec!["Account"],
        vec!["Transfer", "account"],
        vec!["Nothing"],
        vec!["Account", "Account"],
    ];
    let names = [
        vec![],
        vec!["Closed"],
        vec!["opened", "Opened"],
        vec!["Nothing", "Closed"],
    ];
    let mut filters = Vec::new();
    for categories in &categories {
        for names in &names {
            for first_of_stream in [false, true] {
                filters.push(Filter {
                    categories: categories.iter().copied().map(Into::into).collect(),
                    names: names.iter().copied().map(Into::into).collect(),
                    first_of_stream,
                });
            }
        }
    }
    filters
}

/// P17: The ceiling moves beyond events that the filter leaves out.
pub async fn ceiling_moves_over_what_the_filter_left_out<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    store
        .append(append_to(&stream(), "wanted"))
        .await
        .expect("any version");
    let unwanted = append().with_events(other_stream(), Expected::Any, numbered_events(50));
    store.append(unwanted).await.expect("any version");

    let head = head_of(&store).await;
    let mut query = LogQuery::after(Position::ZERO)
        .categories([CATEGORY])
        .limit(10);

    let mut seen = Vec::new();
    let mut pages = 0;

    while query.after < head {
        let page = store
            .read_log(query.clone())
            .await
            .expect("the log can be read");
        assert!(
            page.ceiling > query.after,
            "the ceiling stands at {} before unwanted events",
            page.ceiling
        );
        seen.extend(page.events);
        query.after = page.ceiling;
        pages += 1;
    }
    assert_eq!(texts_of(&seen), ["wanted"]);
    assert!(pages <= 20, "{pages} pages for one wanted event among 51");
    assert_eq!(query.after, head, "the ceiling is not beyond the head");
}

/// P18: `head` is the ceiling of the readable events, never a number that is only reserved. An empty log has head 0.
pub async fn head_is_the_position_of_the_last_readable_event<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    assert_eq!(head_of(&store).await, Position::ZERO, "an empty log");
    for text in ["1", "2", "3"] {
        let appended = store
            .append(append_to(&stream, text))
            .await
            .expect("any version");
        be_refused_in_every_way(&store, &stream).await;
        store
            .append(append().with_snapshot(snapshot(&stream, 1)))
            .await
            .expect("a snapshot alone");
        let fresh = fixture.open().await;
        let head = head_of(&fresh).await;
        assert_eq!(head, appended.receipt.position);
        assert_eq!(
            log_of(&fresh).await.last().map(|event| event.position),
            Some(head)
        );
        let page = fresh
            .read_log(LogQuery::after(Position::ZERO))
            .await
            .expect("the log can be read");
        assert_eq!(
            page.ceiling, head,
            "a page that reaches the end has the head as its ceiling"
        );
    }
}

/// P18: `head` is never beyond the readable events while others write.
pub async fn head_never_runs_ahead_of_what_is_readable<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let streams = [stream(), stream(), other_stream()];
    let mut writers = Vec::new();
    for name in 0..3 {
        let writer = Writer {
            name,
            store: fixture.open().await,
            streams: streams.clone(),
            rng: seed.rng(name),
        };
        writers.push(tokio::spawn(writer.write::<F>()));
    }
    let store = fixture.open().await;
    let mut last = Position::ZERO;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let head = head_of(&store).await;
        assert!(head >= last, "the head went back from {last} to {head}");
        if head > last {
            let before = Position::new(head.as_u64() - 1);
            let page = store
                .read_log(LogQuery::after(before).limit(1))
                .await
                .expect("the log can be read");
            assert_eq!(
                positions_of(&page.events),
                [head],
                "the event at the head is readable"
            );
        }
        last = head;
        tokio::task::yield_now().await;
    }
    finished::<F, _>(writers).await;
}

/// P19: A position is never used twice, also after failed appends.
pub async fn position_is_never_used_twice<F: FollowerFixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let store = fixture.open().await;
    let stream = stream();

    let mut used = HashSet::new();
    for round in 0..20_u64 {
        let write = append_to(&stream, &round.to_string()).with_command_id(CommandId::new());
        drop_midway(store.append(write.clone()), &mut rng).await;
        let position = store
            .append(write)
            .await
            .expect("any version")
            .receipt
            .position;
        assert!(
            used.iter().all(|earlier| *earlier < position),
            "{position} is not beyond all earlier positions"
        );
        used.insert(position);
        be_refused_in_every_way(&store, &stream).await;
    }
    let positions = positions_of(&log_of(&fixture.open().await).await);
    assert_eq!(positions.len(), 20);
    assert_eq!(
        positions.into_iter().collect::<HashSet<_>>(),
        used,
        "events stand where their receipts say"
    );
}

/// P37: The newest position is that of the last visible event, on every store; refused appends, steps and commands without
/// events do not change it.
pub async fn newest_position_is_that_of_the_last_event_that_can_be_seen<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    assert_eq!(newest_of(&store).await, Position::ZERO, "an empty log");
    for text in ["1", "2", "3"] {
        let appended = store
            .append(append_to(&stream, text))
            .await
            .expect("any version");
        be_refused_in_every_way(&store, &stream).await;
        store
            .append(append().with_snapshot(snapshot(&stream, 1)))
            .await
            .expect("a snapshot alone");
        store
            .append(append().with_command_id(CommandId::new()))
            .await
            .expect("a command alone");
        let fresh = fixture.open().await;
        assert_eq!(newest_of(&store).await, appended.receipt.position);
        assert_eq!(newest_of(&fresh).await, appended.receipt.position);
        assert_eq!(
            head_of(&fresh).await,
            appended.receipt.position,
            "nothing is under way"
        );
    }
}

/// P37: During concurrent writes the newest position is never before an event that any store acknowledged, nor before a head,
/// and it never goes back.
pub async fn newest_position_covers_every_acknowledged_event<F: Fixture>(fixture: &F) {
    let stores = open_many(fixture, 4).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers = (0..3_u64).map(|writer| {
        let store = Arc::clone(&stores[writer as usize]);
        let acknowledged = Arc::clone(&acknowledged);

        tokio::spawn(async move {
            for number in 0..40 {
                let receipt = store
                    .append(append_to(&stream(), "an event"))
                    .await
                    .expect("any version")
                    .receipt;
                let before = acknowledged.fetch_max(receipt.position.as_u64(), Ordering::SeqCst);
                let newest = newest_of(&*store).await;
                assert!(
                    newest >= receipt.position,
                    "{writer} {number}: {newest} after {receipt:?} and {before}"
                );
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut last = Position::ZERO;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let known = head_of(&*stores[3])
            .await
            .max(Position::new(acknowledged.load(Ordering::SeqCst)));
        let newest = newest_of(&*stores[3]).await;
        assert!(
            newest >= known && newest >= last,
            "{newest}, though {known} was acknowledged and {last} seen"
        );
        last = newest;
        // A store may answer without yielding, which would starve a writer on this thread.
        tokio::task::yield_now().await;
    }
    finished::<F, _>(writers).await;
}
