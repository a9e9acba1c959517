//! Small payloads that claim to be, or decompress to, enormous ones. These tests have a program of their own, because they
//! measure the peak memory of the process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "figures for the reader of the output"
)]

use eventsourcing_core::store::{Append, CodecId, EventStore, Expected, MemoryStore, NewEvent};
use eventsourcing_core::store::{NewSnapshot, StoreError, Version};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Id, OnFailure, Policy, RecordedEvent, Root, Runner,
    System, UnitOfWork, event,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The allowed growth of memory: the largest payload twice, because a buffer doubles, its window, and a margin.
const GROWTH_BYTES_MAX: u64 = 80 * 1024 * 1024;

const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const FIFTY_GB: u64 = 50_000_000_000;
const BLOCK_BYTES: u32 = 128 * 1024;

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Text {}

#[event]
impl Text {
    fn written(_text: String) -> Self {
        Self {}
    }
}

/// A block of one repeated byte: four bytes that become 128 KiB.
fn block(byte: u8, last: bool) -> [u8; 4] {
    let header = (BLOCK_BYTES << 3 | 1 << 1 | u32::from(last)).to_le_bytes();
    [header[0], header[1], header[2], byte]
}

fn blocks(count: usize) -> Vec<u8> {
    (1..=count)
        .flat_map(|number| block(b' ', number == count))
        .collect()
}

/// A frame that says nothing about its size, with a window of 128 KiB.
fn frame(blocks: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &[0x00, 7 << 3], blocks].concat()
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let size = FIFTY_GB.to_le_bytes();
    let claim_alone = [&MAGIC[..], &[0xE0], &size].concat();
    let claim_and_more = [&MAGIC[..], &[0xE0], &size, &blocks(240)].concat();
    let claim_with_window = [&MAGIC[..], &[0xC0, 7 << 3], &size, &blocks(240)].concat();
    let huge_window = [&MAGIC[..], &[0x00, 25 << 3], &blocks(240)].concat();
    let many_frames = frame(&blocks(1)).repeat(170);
    let real = frame(&blocks(
        usize::try_from(FIFTY_GB).unwrap() / BLOCK_BYTES as usize + 1,
    ));
    let nested = zstd_of(&real);
    vec![
        ("a header that claims 50 GB, and nothing else", claim_alone),
        ("a header that claims 50 GB, and 31 MB", claim_and_more),
        (
            "a header that claims 50 GB in a small window, and 31 MB",
            claim_with_window,
        ),
        ("a window of 32 GiB", huge_window),
        ("1 kB that becomes 31 MB", frame(&blocks(240))),
        ("many frames, each of which is small", many_frames),
        ("1.5 MB that really become 50 GB", real),
        ("such a frame in another one", nested),
    ]
}

/// Returns a zstd frame with these bytes in uncompressed blocks.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let chunks = bytes.chunks(BLOCK_BYTES as usize);
    let last = chunks.len() - 1;
    let raw = chunks.enumerate().flat_map(|(index, chunk)| {
        let header = ((chunk.len() as u32) << 3 | u32::from(index == last)).to_le_bytes();
        [&header[..3], chunk].concat()
    });
    frame(&raw.collect::<Vec<_>>())
}

fn memory_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

async fn put(store: &MemoryStore, codec: u8, payload: Vec<u8>) -> Id<Text> {
    let id = Id::new();
    let event = NewEvent {
        name: "Written".into(),
        schema_version: 1,
        codec: CodecId(codec),
        payload,
        metadata: vec![],
    };
    let append = Append::new(Timestamp::UNIX_EPOCH).with_events(
        id.stream(),
        Expected::NoStream,
        vec![event],
    );
    store.append(append).await.unwrap();
    id
}

async fn refusal(app: &Application, id: Id<Text>) -> String {
    let ApplicationError::Store(error @ StoreError::Corrupt { .. }) =
        app.load(id).await.unwrap_err()
    else {
        panic!()
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn payloads_that_would_become_enormous_are_refused_within_bounded_memory() {
    let store = MemoryStore::new();
    let app = Application::new("texts", store.clone());
    let bombs = bombs();
    let before = memory_peak_bytes();
    for (what, bomb) in bombs {
        assert!(bomb.len() < 2_000_000, "{what}: {} bytes", bomb.len());
        for codec in [3, 4] {
            let id = put(&store, codec, bomb.clone()).await;
            let refusal = refusal(&app, id).await;
            let expected = format!(
                "version 1 of {} cannot be read: cannot decode event Written: ",
                id.stream()
            );
            assert!(refusal.contains(&expected), "{what}: {refusal}");
        }
    }
    let text = refusal(&app, put(&store, 3, frame(&blocks(240))).await).await;
    assert!(
        text.ends_with("it has more than 16777216 bytes when it is decompressed"),
        "{text}"
    );

    // The same in a snapshot: it is a hint, and the events are read instead.
    let id = put(&store, 1, br#"{"text":""}"#.to_vec()).await;
    let stream = id.stream();
    let version = Version::FIRST;
    let codec = CodecId(3);

    let fingerprint = <Text as Aggregate>::FINGERPRINT;
    let payload = frame(&blocks(240));

    let snapshot = NewSnapshot {
        stream,
        version,
        fingerprint,
        codec,
        payload,
    };
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_snapshot(snapshot))
        .await
        .unwrap();
    app.load(id).await.unwrap();

    let growth = memory_peak_bytes().saturating_sub(before);
    eprintln!("the program grew by {growth} bytes");
    assert!(
        growth < GROWTH_BYTES_MAX,
        "the program grew by {growth} bytes"
    );
}

/// Claims of MessagePack about lengths reserve nothing either, and depth does not use up the stack.
#[tokio::test]
async fn lengths_and_depths_that_message_pack_claims_are_refused() {
    let store = MemoryStore::new();
    let app = Application::new("texts", store.clone());
    let text = |claim: &[u8]| [&b"\x81\xa4text"[..], claim].concat();
    for (what, payload) in [
        ("a text of 4 GiB", text(&[0xDB, 0xFF, 0xFF, 0xFF, 0xFF])),
        ("bytes of 4 GiB", text(&[0xC6, 0xFF, 0xFF, 0xFF, 0xFF])),
        (
            "a list of 4 G things",
            text(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF]),
        ),
        ("a map of 4 G things", text(&[0xDF, 0xFF, 0xFF, 0xFF, 0xFF])),
        ("lists in lists", text(&[0x91; 1_000_000])),
    ] {
        let id = put(&store, 2, payload).await;
        let refusal = refusal(&app, id).await;
        assert!(
            refusal.contains("cannot decode event Written: "),
            "{what}: {refusal}"
        );
        let event = store
            .read_stream(eventsourcing_core::store::StreamQuery::new(id.stream()))
            .await
            .unwrap()
            .remove(0);
        eventsourcing_core::Codec::decode_value(&event).unwrap_err();
    }
}

/// A value that is as deep as it is long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Nest {
    Leaf,
    Node(Box<Nest>),
}

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Tree {
    nest: Nest,
}

#[event]
impl Tree {
    #[event(version = 2, upcast(from = 1, with = as_it_is))]
    fn grown(nest: Nest) -> Self {
        Self { nest }
    }
}

fn as_it_is(old: serde_json::Value) -> serde_json::Value {
    old
}

struct Trees {
    app: Application,
}

impl From<Application> for Trees {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

/// A policy that writes a text for each tree.
struct Painter;

impl From<Application> for Painter {
    fn from(_: Application) -> Self {
        Self
    }
}

impl Policy<Tree> for Painter {
    type Error = ApplicationError;

    async fn react(
        &self,
        _: &RecordedEvent<Tree>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let id = work.new_id::<Text>();
        work.create(
            id,
            TextEvent::Written {
                text: "a tree".into(),
            },
        );
        Ok(())
    }
}

#[derive(System)]
struct Wood {
    #[application(aggregates(Tree))]
    trees: Trees,
    #[application(aggregates(Text), follows(trees: Tree))]
    painter: Painter,
}

/// Returns a tree of this depth, in JSON and in MessagePack.
fn nested(levels: usize) -> [(u8, Vec<u8>); 2] {
    let json = format!(
        "{{\"nest\":{}\"Leaf\"{}}}",
        "{\"Node\":".repeat(levels),
        "}".repeat(levels)
    );
    let packed = [
        &b"\x81\xa4nest"[..],
        &b"\x81\xa4Node".repeat(levels),
        b"\xa4Leaf",
    ]
    .concat();
    [(1, json.into_bytes()), (2, packed)]
}

/// A stack overflow is not a panic and cannot be caught, so the depth is limited.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_nested_ten_thousand_levels_deep_is_refused_and_ends_no_process() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let store = MemoryStore::new();
        let mut deep = Vec::new();
        for version in [1, 2] {
            for (codec, payload) in nested(10_000) {
                let id = Id::<Tree>::new();
                let metadata = Vec::new();
                let event = NewEvent {
                    name: "Grown".into(),
                    schema_version: version,
                    codec: CodecId(codec),
                    payload,
                    metadata,
                };
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(
                    id.stream(),
                    Expected::NoStream,
                    vec![event],
                );
                store.append(append).await.unwrap();
                deep.push(id);
            }
        }
        let builder = Wood::builder(store.clone()).with_runner(runner);
        let wood = builder
            .with_on_failure(Wood::PAINTER, OnFailure::Park)
            .start()
            .await
            .unwrap();
        let mut tree = Root::<Tree>::create(TreeEvent::Grown {
            nest: Nest::Node(Box::new(Nest::Leaf)),
        });
        wood.trees.app.save(&mut tree).await.unwrap();
        wood.wait_until_caught_up().await.unwrap();
        let parked = wood.parking(Wood::PAINTER).unwrap().list().await.unwrap();
        assert_eq!(
            parked.len(),
            deep.len(),
            "the events are put aside, and the follower goes on: {parked:?}"
        );
        assert!(
            parked
                .iter()
                .all(|parked| parked.cause.contains("cannot be read")),
            "{parked:?}"
        );
        for id in deep {
            let error = wood.trees.app.load(id).await.unwrap_err();
            assert!(
                matches!(error, ApplicationError::Store(StoreError::Corrupt { .. })),
                "{error}"
            );
            wood.trees.app.history(id).await.unwrap_err();
        }

        // A snapshot is a hint: the events are read instead.
        for (codec, payload) in nested(10_000) {
            let stream = tree.stream();
            let version = Version::FIRST;
            let fingerprint = <Tree as Aggregate>::FINGERPRINT;

            let snapshot = NewSnapshot {
                stream,
                version,
                fingerprint,
                codec: CodecId(codec),
                payload,
            };
            store
                .append(Append::new(Timestamp::UNIX_EPOCH).with_snapshot(snapshot))
                .await
                .unwrap();
            assert_eq!(
                wood.trees.app.load(tree.id()).await.unwrap().nest,
                tree.nest
            );
        }
        wood.stop().await.unwrap();
    }
}
