//! Values of every shape that serde knows, on every store, by every codec: each comes back equal by every path, or is
//! refused where it would be appended, with nothing written.
//!
//! The paths: the cache, a load, a snapshot, the history, the log, a policy's copy, a timer, a rejection that is kept, an
//! upcaster that takes a `Value`, one that takes the type itself, and an archive in another store.
//!
//! 120 values for each store and codec; `EVENTSOURCING_VALUES` says how many in all for each store instead, 10,000 being the
//! long form.

mod paths;
mod shapes;

use std::collections::BTreeMap;

use eventsourcing::store::MemoryStore;
use eventsourcing::testing::Seed;
use eventsourcing::{Codec, Compression, Runner, RunningSystem, Stores, SystemBuilder};

use super::support::Place;
use paths::{Expected, Warehouse};
use shapes::{Shape, Source};

/// The number of values for each store, unless more are asked for.
const VALUES: usize = 480;
/// The number of values after which all of them must have arrived.
const CHUNK: usize = 100;
const ENCODINGS: usize = 4;
/// The number of values with which every shape has met its unusual values.
const ENOUGH_OF_EACH_SHAPE: usize = 5_000;

fn values() -> usize {
    match std::env::var("EVENTSOURCING_VALUES") {
        Ok(text) => text.parse().expect("EVENTSOURCING_VALUES is a number"),
        Err(_) => VALUES,
    }
}

fn encoded(builder: SystemBuilder<Warehouse>, encoding: usize) -> SystemBuilder<Warehouse> {
    let everything = Compression::zstd().above_bytes(0);
    match encoding {
        0 => builder,
        1 => builder.with_codec(Codec::MessagePack),
        2 => builder.with_compression(everything),
        _ => builder
            .with_codec(Codec::MessagePack)
            .with_compression(everything),
    }
}

async fn start(stores: &Stores, encoding: usize) -> RunningSystem<Warehouse> {
    let builder =
        Warehouse::builder(stores.clone()).with_runner(Runner::concurrent().without_leases());
    encoded(builder, encoding)
        .start()
        .await
        .expect("the system starts")
}

/// The numbers of accepted and of refused values of each shape.
type Tally = BTreeMap<String, (usize, usize)>;

fn name_of(shape: &Shape) -> String {
    let text = format!("{shape:?}");
    text.split(|character: char| !character.is_alphanumeric())
        .next()
        .unwrap_or_default()
        .into()
}

async fn check(
    place: &Place,
    encoding: usize,
    count: usize,
    source: &mut Source,
    tally: &mut Tally,
) {
    let stores = bank_example::stores::open(place.url())
        .await
        .expect("a store");
    let system = start(&stores, encoding).await;
    let mut expected = Expected::default();
    for number in 0..count {
        let shape = source.shape();
        let (accepted, refused) = tally.entry(name_of(&shape)).or_default();
        match system.goods.keep(&shape).await {
            Ok(id) => {
                *accepted += 1;
                paths::check_own(&system, id, &shape).await;
                expected.add(id, shape);
            }
            Err(error) => {
                *refused += 1;
                let text = error.to_string();
                assert!(
                    text.contains("cannot encode event Kept"),
                    "{shape:?}: {text}"
                );
                // No part of a refused value may be written: in the end the log is compared with the accepted values.
            }
        }
        if number % CHUNK == CHUNK - 1 {
            system
                .wait_until_caught_up()
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", place.url()));
        }
    }
    expected.check_all(&system).await;
    let archive = paths::export(stores.store()).await;
    system.stop().await.expect("it stops");
    let other = MemoryStore::new();
    paths::import(other.clone(), archive).await;
    let other = Stores::from(other);
    // The codec that reads is not the one that wrote.
    let system = start(&other, (encoding + 1) % ENCODINGS).await;
    expected.check_all(&system).await;
    system.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_shape_come_back_by_every_path_or_are_refused() {
    let seed = Seed::from_env();
    let mut tally = Tally::new();
    for (kind, task) in ["memory", "sqlite", "postgres"].into_iter().zip(0..) {
        for encoding in 0..ENCODINGS {
            let place = Place::all()
                .into_iter()
                .find(|place| place.url().starts_with(kind))
                .expect("such a store");
            let mut source = Source(seed.rng(task * ENCODINGS as u64 + encoding as u64));
            check(
                &place,
                encoding,
                values() / ENCODINGS,
                &mut source,
                &mut tally,
            )
            .await;
        }
    }
    #[expect(
        clippy::print_stderr,
        reason = "figures for the reader of the test's output"
    )]
    for (shape, (accepted, refused)) in &tally {
        eprintln!("{shape}: {accepted} came back, {refused} were refused");
    }
    // Usual values are not refused.
    for shape in [
        "Small", "Whole", "Long", "Text", "Bytes", "Unit", "Option", "Set", "HashSet", "ByHash",
        "ByPlain", "ById",
    ] {
        let (accepted, refused) = tally.get(shape).copied().unwrap_or_default();
        assert!(
            accepted > 0 && refused == 0,
            "{shape}: {accepted} accepted, {refused} refused"
        );
    }
    let unusual = [
        "ByPair", "Large", "Unsigned", "Fraction", "Nested", "Nest", "Internal", "Untagged",
    ];
    let refused: usize = unusual
        .iter()
        .filter_map(|shape| tally.get(*shape))
        .map(|(_, refused)| refused)
        .sum();
    assert!(refused > 0, "nothing was refused: {tally:?}");
    // A few values of a shape may all be usual ones.
    for shape in unusual
        .into_iter()
        .filter(|_| values() >= ENOUGH_OF_EACH_SHAPE)
    {
        assert!(
            tally.get(shape).is_some_and(|(_, refused)| *refused > 0),
            "no {shape} was refused: {tally:?}"
        );
    }
}
