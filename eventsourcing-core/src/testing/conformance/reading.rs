//! P12 to P19: what streams and the log show, also while others write.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{
    CommandId, Direction, EventStore, Expected, Filter, Load, Loaded, LogQuery, NewEvent, Position, StoreError,
    StoredEvent, StreamId, StreamQuery, Version,
};
use crate::testing::Seed;

use super::Fixture;
use super::given::{
    CATEGORY, FINGERPRINT, FOLLOWER, OTHER_CATEGORY, append, append_to, event, named_event, numbered_events,
    other_stream, snapshot, step_from, stream,
};
use super::race::{drop_midway, finished, within};
use super::seen::{
    assert_conflict, assert_invalid, assert_positions_grow, assert_tracking_conflict, follow, head_of, loaded, log_of,
    positions_of, stream_of, text_of, texts_of, version_of, versions_of,
};

/// P12: Ranges (from, to, limit), forwards and backwards, are inclusive.
pub async fn ranges_of_a_stream_are_inclusive_in_both_directions<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    for number in 1..=10 {
        store.append(append_to(&stream, &number.to_string())).await.expect("any version");
        store.append(append_to(&other_stream(), "between")).await.expect("any version");
    }
    let edges = [0, 1, 2, 5, 9, 10, 11, Version::MAX.as_u64()];
    for (from, to) in edges.into_iter().flat_map(|from| edges.map(|to| (from, to))) {
        for (limit, direction) in [0, 1, 3, 10, usize::MAX]
            .into_iter()
            .flat_map(|limit| [(limit, Direction::Forwards), (limit, Direction::Backwards)])
        {
            let query = StreamQuery {
                stream: stream.clone(),
                from: Version::new(from),
                to: Version::new(to),
                limit,
                direction,
            };
            let mut expected: Vec<_> = (1..=10).filter(|version| from <= *version && *version <= to).collect();
            if direction == Direction::Backwards {
                expected.reverse();
            }
            expected.truncate(limit);
            let events = store.read_stream(query.clone()).await.expect("a stream can be read");
            assert_eq!(versions_of(&events), expected, "{query:?}");
            assert!(events.iter().all(|event| text_of(event) == event.version.to_string()), "{query:?}");
        }
    }
}

/// P12: An unknown stream is empty, not an error.
pub async fn unknown_stream_is_empty<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    store.append(append_to(&other_stream(), "elsewhere")).await.expect("any version");
    assert_eq!(store.read_stream(StreamQuery::new(stream.clone())).await.expect("not an error"), []);
    assert_eq!(store.read_stream(StreamQuery::new(stream.clone()).backwards()).await.expect("not an error"), []);
    for fingerprint in [None, Some(FINGERPRINT)] {
        let load = Load { stream: stream.clone(), to: Version::MAX, fingerprint };
        assert_eq!(store.load(load).await.expect("not an error"), Loaded::default());
    }
}

/// P13: `load` gives a snapshot and exactly the events after it.
pub async fn load_gives_a_snapshot_and_exactly_the_events_after_it<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    let write = append().with_events(stream.clone(), Expected::Any, numbered_events(6));
    store.append(write.with_snapshot(snapshot(&stream, 4))).await.expect("any version");

    let fresh = fixture.open().await;
    for (to, expected) in [(Version::MAX, vec![5, 6]), (Version::new(5), vec![5]), (Version::new(4), vec![])] {
        let loaded = loaded(&fresh, &stream, to).await;
        assert_eq!(versions_of(&loaded.events), expected, "exactly the events after the snapshot up to {to}");
        let snapshot = loaded.snapshot.expect("there is a usable snapshot");
        assert_eq!((snapshot.version, snapshot.payload), (Version::new(4), b"4".to_vec()));
    }
    let loaded = loaded(&fresh, &stream, Version::new(3)).await;
    assert_eq!((loaded.snapshot, versions_of(&loaded.events)), (None, vec![1, 2, 3]));
}

/// P13: `load` is one consistent view, even while others append.
pub async fn load_is_one_consistent_view_while_others_append<F: Fixture>(fixture: &F) {
    let stream = stream();
    let (writing, written) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let loaders = [fixture.open().await, fixture.open().await].map(|store| {
        let (stream, writing, written) = (stream.clone(), Arc::clone(&writing), Arc::clone(&written));
        tokio::spawn(async move {
            while writing.load(Ordering::SeqCst) {
                let known = written.load(Ordering::SeqCst);
                assert_contiguous(&loaded(&store, &stream, Version::MAX).await, known);
                tokio::task::yield_now().await;
            }
        })
    });
    let store = fixture.open().await;
    for version in 1..=150 {
        let expected = Expected::Exact(Version::new(version - 1));
        let mut append = append().with_events(stream.clone(), expected, vec![event(&version.to_string())]);
        if version % 3 == 0 {
            append = append.with_snapshot(snapshot(&stream, version));
        }
        store.append(append).await.expect("nobody else writes");
        written.store(version, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    writing.store(false, Ordering::SeqCst);
    finished::<F, _>(loaders.into()).await;
}

fn assert_contiguous(loaded: &Loaded, known: u64) {
    let start = loaded.snapshot.as_ref().map_or(0, |snapshot| {
        assert_eq!(snapshot.payload, snapshot.version.to_string().into_bytes(), "the snapshot shows its version");
        snapshot.version.as_u64()
    });
    let versions = versions_of(&loaded.events);
    let end = start + versions.len() as u64;
    assert!(versions.iter().copied().eq(start + 1..=end), "snapshot at {start}, then {versions:?}");
    assert!(end >= known, "version {known} had been acknowledged, loaded up to {end}");
}

/// P14: Streams with the same id and different categories are different streams.
pub async fn same_id_in_different_categories_is_different_streams<F: Fixture>(fixture: &F) {
    let (store, one) = (fixture.open().await, stream());
    let two = StreamId::new(OTHER_CATEGORY, one.id);
    for (stream, text) in [(&one, "one"), (&two, "two")] {
        let create = append().with_events(stream.clone(), Expected::NoStream, vec![event(text), event(text)]);
        store.append(create.with_snapshot(snapshot(stream, 1))).await.expect("a stream of its own");
    }
    store.append(append().with_snapshot(snapshot(&two, 2))).await.expect("a snapshot alone");
    for (stream, text, snapshot_version) in [(&one, "one", 1), (&two, "two", 2)] {
        let events = stream_of(&store, stream).await;
        assert_eq!((texts_of(&events), versions_of(&events)), (vec![text.to_owned(); 2], vec![1, 2]));
        assert!(events.iter().all(|event| event.stream == *stream));
        let snapshot = loaded(&store, stream, Version::MAX).await.snapshot.expect("there is a snapshot");
        assert_eq!(snapshot.version, Version::new(snapshot_version));
    }
}

/// P15: Pages come in position order; following each page's ceiling visits every event once.
pub async fn following_ceilings_visits_every_event_once_in_order<F: Fixture>(fixture: &F) {
    let (store, streams) = (fixture.open().await, [stream(), stream(), other_stream()]);
    let mut expected = Vec::new();
    for number in 0..25 {
        let stream = &streams[number % streams.len()];
        let texts = [format!("{number} a"), format!("{number} b")];
        let events = texts.iter().map(|text| event(text)).collect();
        store.append(append().with_events(stream.clone(), Expected::Any, events)).await.expect("any version");
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
    let (head, mut after, mut events) = (head_of(store).await, Position::ZERO, Vec::new());
    while after < head {
        let page = store.read_log(LogQuery::after(after).limit(limit)).await.expect("the log can be read");
        assert!(page.events.len() <= limit, "a page of {} events, {limit} were asked for", page.events.len());
        assert!(page.ceiling > after, "the log is at rest: each page moves on");
        assert!(page.events.iter().all(|event| after < event.position && event.position <= page.ceiling));
        events.extend(page.events);
        after = page.ceiling;
    }
    events
}

/// P15: The ceiling is never before the position asked for, and a limit of 0 counts as 1.
pub async fn ceiling_is_never_before_the_position_asked_for<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let page = store.read_log(LogQuery::after(Position::ZERO)).await.expect("an empty log can be read");
    assert_eq!((page.events, page.ceiling), (vec![], Position::ZERO));
    store.append(append().with_events(stream(), Expected::Any, numbered_events(3))).await.expect("any version");

    let head = head_of(&store).await;
    for after in [head, Position::new(head.as_u64() + 1_000), Position::MAX] {
        let page = store.read_log(LogQuery::after(after)).await.expect("the log can be read");
        assert_eq!((page.events, page.ceiling), (vec![], after));
    }
    let page = store.read_log(LogQuery { limit: 0, ..LogQuery::after(Position::ZERO) }).await;
    assert_eq!(page.expect("the log can be read").events.len(), 1, "a limit of 0 counts as 1");
}

/// P16: A reader that always continues from the last ceiling sees every acknowledged event exactly once while writers
/// are slow, fail, roll back, and commit out of order.
pub async fn reader_that_follows_ceilings_sees_every_acknowledged_event_once<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let streams = [stream(), stream(), other_stream()];
    let (finish, at_end) = watch::channel(None);
    let mut readers = Vec::new();
    for query in reader_queries() {
        readers.push(tokio::spawn(follow_until(fixture.open().await, query, at_end.clone())));
    }
    let mut writers = Vec::new();
    for name in 0..4 {
        let writer = Writer { name, store: fixture.open().await, streams: streams.clone(), rng: seed.rng(name) };
        writers.push(tokio::spawn(writer.write::<F>()));
    }
    let acknowledged: HashSet<String> = finished::<F, _>(writers).await.into_iter().flatten().collect();

    let log = log_of(&fixture.open().await).await;
    let texts: HashSet<String> = texts_of(&log).into_iter().collect();
    assert_eq!(texts.len(), log.len(), "no event is there twice");
    assert_eq!(texts, acknowledged, "what was acknowledged is there, what was refused is not");
    finish.send_replace(log.last().map(|event| event.position));
    for (seen, query) in finished::<F, _>(readers).await.into_iter().zip(reader_queries()) {
        let expected: Vec<_> = log.iter().filter(|event| query.filter.allows(event)).collect();
        assert_eq!(positions_of(&seen), expected.iter().map(|event| event.position).collect::<Vec<_>>(), "{query:?}");
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
    loop {
        let end = *at_end.borrow();
        if end.is_some_and(|end| end <= query.after) {
            return seen;
        }
        let page = store.read_log(query.clone()).await.expect("the log can be read");
        assert!(page.events.iter().all(|event| query.after < event.position && event.position <= page.ceiling));
        if page.ceiling == query.after {
            sleep(Duration::from_micros(200)).await;
        }
        seen.extend(page.events);
        query.after = page.ceiling;
        tokio::task::yield_now().await;
    }
}

/// Writes in every way there is: small and large, refused, repeated, and dropped midway.
struct Writer<S> {
    name: u64,
    store: S,
    streams: [StreamId; 3],
    rng: fastrand::Rng,
}

impl<S: EventStore> Writer<S> {
    /// Returns the payloads of all events that were acknowledged.
    async fn write<F: Fixture>(mut self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for round in 0..40 {
            let events = self.events(round);
            let texts: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(&event.payload).into()).collect();
            match self.rng.u8(0..8) {
                0 => self.be_refused(events).await,
                1 => {
                    self.give_up_and_retry::<F>(events).await;
                    acknowledged.extend(texts);
                }
                _ => {
                    self.append(events).await;
                    acknowledged.extend(texts);
                }
            }
        }
        acknowledged
    }

    /// Some appends are many times larger than others, so that small ones overtake them.
    fn events(&mut self, round: usize) -> Vec<NewEvent> {
        let (count, weight) = if self.rng.u8(0..6) == 0 { (self.rng.usize(20..60), 1_000) } else { (1, 0) };
        let metadata = vec![b' '; weight];
        let texts = (0..count).map(|number| format!("{} {round} {number}", self.name));
        texts.map(|text| NewEvent { metadata: metadata.clone(), ..event(&text) }).collect()
    }

    async fn append(&mut self, mut events: Vec<NewEvent>) {
        let second_half = events.split_off(events.len() / 2);
        let [one, two] = self.two_streams();
        let append = append().with_events(one, Expected::Any, events).with_events(two, Expected::Any, second_half);
        self.store.append(append).await.expect("any version is expected");
    }

    async fn be_refused(&mut self, events: Vec<NewEvent>) {
        let [one, two] = self.two_streams();
        let write = append().with_events(one.clone(), Expected::Any, events);
        let refused = match self.rng.u8(0..3) {
            0 => self.store.append(write.with_guard(two, Expected::Exact(Version::MAX))).await,
            1 => self.store.append(write.with_snapshot(snapshot(&one, Version::MAX.as_u64()))).await,
            _ => self.store.append(write.with_tracking(step_from(5, self.store.log_id()).to(6))).await,
        };
        let error = refused.expect_err("it cannot be written");
        assert!(!matches!(error, StoreError::Unavailable { .. } | StoreError::Corrupt { .. }), "{error:?}");
    }

    async fn give_up_and_retry<F: Fixture>(&mut self, events: Vec<NewEvent>) {
        let [one, _] = self.two_streams();
        let append = append().with_events(one, Expected::Any, events).with_command_id(CommandId::new());
        drop_midway(self.store.append(append.clone()), &mut self.rng).await;
        within::<F, _>("a retry", self.store.append(append)).await.expect("a retry is answered");
    }

    fn two_streams(&mut self) -> [StreamId; 2] {
        let mut streams = self.streams.clone();
        self.rng.shuffle(&mut streams);
        let [one, two, _] = streams;
        [one, two]
    }
}

/// P17: A filter (categories, event names, first of stream) returns what filtering by hand would.
pub async fn filter_returns_what_filtering_by_hand_would<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    for category in ["Account", "Transfer", "account", "Accounts"] {
        let stream = StreamId::new(category, stream().id);
        for name in ["Opened", "Closed", "opened", "Closed"] {
            let append = append().with_events(stream.clone(), Expected::Any, vec![named_event(name, category)]);
            store.append(append).await.expect("any version");
        }
    }
    let log = log_of(&store).await;
    for filter in filters() {
        for limit in [1, 3, 1_000] {
            let query = LogQuery { filter: filter.clone(), ..LogQuery::after(Position::ZERO).limit(limit) };
            let by_hand: Vec<_> = log.iter().filter(|event| filter.allows(event)).cloned().collect();
            assert_eq!(follow(&store, query.clone()).await, by_hand, "{query:?}");
        }
    }
}

fn filters() -> Vec<Filter> {
    let categories =
        [vec![], vec!["Account"], vec!["Transfer", "account"], vec!["Nothing"], vec!["Account", "Account"]];
    let names = [vec![], vec!["Closed"], vec!["opened", "Opened"], vec!["Nothing", "Closed"]];
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

/// P17: The ceiling moves over what the filter left out.
pub async fn ceiling_moves_over_what_the_filter_left_out<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    store.append(append_to(&stream(), "wanted")).await.expect("any version");
    let unwanted = append().with_events(other_stream(), Expected::Any, numbered_events(50));
    store.append(unwanted).await.expect("any version");

    let (head, mut query) = (head_of(&store).await, LogQuery::after(Position::ZERO).categories([CATEGORY]).limit(10));
    let (mut seen, mut pages) = (Vec::new(), 0);
    while query.after < head {
        let page = store.read_log(query.clone()).await.expect("the log can be read");
        assert!(page.ceiling > query.after, "the ceiling stands at {} before unwanted events", page.ceiling);
        seen.extend(page.events);
        query.after = page.ceiling;
        pages += 1;
    }
    assert_eq!(texts_of(&seen), ["wanted"]);
    assert!(pages <= 20, "{pages} pages for one wanted event among 51");
    assert_eq!(query.after, head, "the ceiling is not beyond the head");
}

/// P18: `head` is the ceiling of what is readable, never a number that is only reserved. An empty log has head 0.
pub async fn head_is_the_position_of_the_last_readable_event<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    assert_eq!(head_of(&store).await, Position::ZERO, "an empty log");
    for text in ["1", "2", "3"] {
        let appended = store.append(append_to(&stream, text)).await.expect("any version");
        be_refused_in_every_way(&store, &stream).await;
        store.append(append().with_snapshot(snapshot(&stream, 1))).await.expect("a snapshot alone");
        let fresh = fixture.open().await;
        let head = head_of(&fresh).await;
        assert_eq!(head, appended.receipt.position);
        assert_eq!(log_of(&fresh).await.last().map(|event| event.position), Some(head));
        let page = fresh.read_log(LogQuery::after(Position::ZERO)).await.expect("the log can be read");
        assert_eq!(page.ceiling, head, "a page that reaches the end has the head as its ceiling");
    }
}

/// Appends that a store may notice late, when numbers have been drawn already.
pub(super) async fn be_refused_in_every_way(store: &impl EventStore, stream: &StreamId) {
    let actual = version_of(store, stream).await;
    let write = || append().with_events(other_stream(), Expected::Any, numbered_events(2));
    let conflict = store.append(write().with_events(stream.clone(), Expected::NoStream, numbered_events(2))).await;
    assert_conflict(conflict, stream, actual);
    assert_invalid(
        store.append(write().with_snapshot(snapshot(stream, actual.as_u64() + 1))).await,
        "a snapshot beyond",
    );
    let step = step_from(40, store.log_id()).to(50);
    assert_tracking_conflict(store.append(write().with_tracking(step)).await, &FOLLOWER, 0);
}

/// P18: `head` never runs ahead of what is readable while others write.
pub async fn head_never_runs_ahead_of_what_is_readable<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let streams = [stream(), stream(), other_stream()];
    let mut writers = Vec::new();
    for name in 0..3 {
        let writer = Writer { name, store: fixture.open().await, streams: streams.clone(), rng: seed.rng(name) };
        writers.push(tokio::spawn(writer.write::<F>()));
    }
    let store = fixture.open().await;
    let mut last = Position::ZERO;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let head = head_of(&store).await;
        assert!(head >= last, "the head went back from {last} to {head}");
        if head > last {
            let before = Position::new(head.as_u64() - 1);
            let page = store.read_log(LogQuery::after(before).limit(1)).await.expect("the log can be read");
            assert_eq!(positions_of(&page.events), [head], "the event at the head is readable");
        }
        last = head;
        tokio::task::yield_now().await;
    }
    finished::<F, _>(writers).await;
}

/// P19: A position is never used twice, also after failed appends.
pub async fn position_is_never_used_twice<F: Fixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let (store, stream) = (fixture.open().await, stream());
    let mut used = HashSet::new();
    for round in 0..20_u64 {
        let write = append_to(&stream, &round.to_string()).with_command_id(CommandId::new());
        drop_midway(store.append(write.clone()), &mut rng).await;
        let position = store.append(write).await.expect("any version").receipt.position;
        assert!(used.iter().all(|earlier| *earlier < position), "{position} is not beyond all earlier positions");
        used.insert(position);
        be_refused_in_every_way(&store, &stream).await;
    }
    let positions = positions_of(&log_of(&fixture.open().await).await);
    assert_eq!(positions.len(), 20);
    assert_eq!(positions.into_iter().collect::<HashSet<_>>(), used, "events stand where their receipts say");
}
