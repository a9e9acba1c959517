//! The actions on a store, in small numbers that shrink well.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// One call of a store. Streams, followers, names and commands are indices of short lists.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Append(Write),
    ReadStream {
        stream: usize,
        from: u64,
        to: u64,
        limit: usize,
        backwards: bool,
    },
    Load {
        stream: usize,
        after: u64,
        to: u64,
        limit: usize,
        fingerprint: Option<u64>,
    },
    ReadLog {
        after_event: usize,
        limit: usize,
        filter: Wanted,
    },
    Head,
    NewestPosition,
    Receipts {
        after: Option<usize>,
        limit: usize,
    },
    Tracking {
        follower: usize,
        upstream: usize,
    },
    Notes {
        follower: usize,
        upstream: usize,
        prefix: usize,
        after: usize,
        limit: usize,
    },
    Reopen,
}

/// An append.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) recorded_nanosecond: i64,
    pub(super) parts: Vec<Part>,
    pub(super) command: Option<usize>,
    pub(super) is_rejection: bool,
    /// Commands that share the append, in the place of the one: each with 0 if it records nothing, 1 if it is rejected, and from 2 on
    /// the place of its last event.
    pub(super) shared: Vec<(usize, usize)>,
    pub(super) step: Option<Step>,
    pub(super) snapshots: Vec<Snapshot>,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) stream: usize,
    pub(super) expectation: Expectation,
    pub(super) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expectation {
    Any,
    NoStream,
    Exists,
    Exact(u64),
    /// Exactly the version of the stream.
    Right,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: usize,
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) follower: usize,
    pub(super) upstream: usize,
    /// The start of the step; `None` is the position of the follower.
    pub(super) from: Option<u64>,
    /// The length of the step plus one: 0 is a step backwards.
    pub(super) length_and_one: u64,
    /// The expected revision; `Some(None)` is the present one.
    pub(super) revision: Option<Option<u64>>,
    /// Keys with their notes; `None` removes the note.
    pub(super) notes: Vec<(usize, Option<u8>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) stream: usize,
    pub(super) version: u64,
    pub(super) fingerprint: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) categories: Vec<usize>,
    pub(super) names: Vec<usize>,
    pub(super) first_of_stream: bool,
}

pub(super) const STREAMS: usize = 3;
pub(super) const CATEGORIES: usize = 3;
pub(super) const NAMES: usize = 3;
pub(super) const FOLLOWERS: usize = 2;
pub(super) const UPSTREAMS: usize = 2;
pub(super) const NOTE_KEYS: usize = 4;
const COMMANDS: usize = 4;
const VERSIONS: u64 = 8;
const FINGERPRINTS: u64 = 2;

pub(super) fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => any_write().prop_map(Action::Append),
        3 => any_range(),
        3 => any_load(),
        3 => (0..20_usize, any_limit(), any_filter())
            .prop_map(|(after_event, limit, filter)| Action::ReadLog { after_event, limit, filter }),
        1 => Just(Action::Head),
        1 => Just(Action::NewestPosition),
        1 => (option::of(0..COMMANDS), any_limit()).prop_map(|(after, limit)| Action::Receipts { after, limit }),
        1 => (0..FOLLOWERS, 0..UPSTREAMS).prop_map(|(follower, upstream)| Action::Tracking { follower, upstream }),
        2 => any_notes(),
        1 => Just(Action::Reopen),
    ]
}

fn any_load() -> impl Strategy<Value = Action> {
    let after = prop_oneof![3 => Just(0), 1 => 0..VERSIONS];
    (
        0..STREAMS,
        after,
        any_version(),
        any_limit(),
        option::of(0..FINGERPRINTS),
    )
        .prop_map(|(stream, after, to, limit, fingerprint)| Action::Load {
            stream,
            after,
            to,
            limit,
            fingerprint,
        })
}

fn any_range() -> impl Strategy<Value = Action> {
    (
        0..STREAMS,
        0..VERSIONS,
        any_version(),
        any_limit(),
        any::<bool>(),
    )
        .prop_map(|(stream, from, to, limit, backwards)| Action::ReadStream {
            stream,
            from,
            to,
            limit,
            backwards,
        })
}

fn any_version() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..VERSIONS, 1 => Just(u64::MAX)]
}

fn any_limit() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..6_usize, 1 => Just(usize::MAX)]
}

fn any_filter() -> impl Strategy<Value = Wanted> {
    let wanted = (vec(0..CATEGORIES, 0..3), vec(0..NAMES, 0..3), any::<bool>());
    wanted.prop_map(|(categories, names, first_of_stream)| Wanted {
        categories,
        names,
        first_of_stream,
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    let write = (
        -2_000_000_000..2_000_000_000_i64,
        vec(any_part(), 0..3),
        (
            option::weighted(0.3, 0..COMMANDS),
            proptest::bool::weighted(0.1),
            option::weighted(0.2, vec((0..COMMANDS, 0..6_usize), 1..4)),
        ),
        option::weighted(0.3, any_step()),
        vec(any_snapshot(), 0..2),
    );
    write.prop_map(
        |(recorded_nanosecond, parts, (command, is_rejection, shared), step, snapshots)| Write {
            recorded_nanosecond,
            parts,
            command,
            is_rejection,
            shared: shared.unwrap_or_default(),
            step,
            snapshots,
        },
    )
}

fn any_part() -> impl Strategy<Value = Part> {
    let events = vec(
        (0..NAMES, vec(any::<u8>(), 0..3)).prop_map(|(name, payload)| Event { name, payload }),
        0..4,
    );
    let part = (0..STREAMS, any_expectation(), events);
    part.prop_map(|(stream, expectation, events)| Part {
        stream,
        expectation,
        events,
    })
}

fn any_expectation() -> impl Strategy<Value = Expectation> {
    prop_oneof![
        4 => Just(Expectation::Any),
        4 => Just(Expectation::Right),
        1 => Just(Expectation::NoStream),
        1 => Just(Expectation::Exists),
        1 => (0..VERSIONS).prop_map(Expectation::Exact),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let from = option::weighted(0.3, 0..5_u64);
    let revision = option::of(option::weighted(0.3, 0..4_u64));
    let notes = vec((0..NOTE_KEYS, option::weighted(0.7, any::<u8>())), 0..3);
    (0..FOLLOWERS, 0..UPSTREAMS, from, 0..6_u64, revision, notes).prop_map(
        |(follower, upstream, from, length_and_one, revision, notes)| Step {
            follower,
            upstream,
            from,
            length_and_one,
            revision,
            notes,
        },
    )
}

fn any_notes() -> impl Strategy<Value = Action> {
    let of = (0..FOLLOWERS, 0..UPSTREAMS);
    (of, 0..=NOTE_KEYS, 0..=NOTE_KEYS, any_limit()).prop_map(
        |((follower, upstream), prefix, after, limit)| Action::Notes {
            follower,
            upstream,
            prefix,
            after,
            limit,
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let snapshot = (0..STREAMS, 0..VERSIONS, 0..FINGERPRINTS);
    snapshot.prop_map(|(stream, version, fingerprint)| Snapshot {
        stream,
        version,
        fingerprint,
    })
}
