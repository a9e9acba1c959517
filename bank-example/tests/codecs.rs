//! The bank with every codec on every store, several in one stream, and what people see of it.
#![allow(clippy::unwrap_used)]

mod support;

use bank_example::domain::account::Account;
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use eventsourcing_core::store::{LogQuery, Position};
use eventsourcing_core::testing::Seed;
use eventsourcing_core::{Codec, Compression, Id, Runner, Running, Stores};
use serde_json::Value;
use support::{Place, assert_consistent, money};

/// The encodings that a bank may write by.
async fn bank(stores: &Stores, encoding: usize) -> Running<EventSourcedBank> {
    let builder = EventSourcedBank::builder(stores.clone()).with_runner(Runner::inline());
    let everything = Compression::zstd().above_bytes(0);
    let builder = match encoding {
        0 => builder,
        1 => builder.with_codec(Codec::MessagePack),
        2 => builder.with_compression(everything),
        _ => builder.with_codec(Codec::MessagePack).with_compression(everything),
    };
    builder.start().await.unwrap()
}

/// So long that what it is written in becomes smaller by compression.
fn long_name() -> String {
    "Alice ".repeat(33).trim().to_owned()
}

#[tokio::test]
async fn a_bank_may_switch_its_codec_as_often_as_it_likes() {
    let seed = Seed::from_env();
    for (number, place) in Place::all().into_iter().enumerate() {
        let mut rng = seed.rng(number as u64);
        let stores = stores::open(place.url()).await.unwrap();
        let mut accounts: Vec<Id<Account>> = Vec::new();
        for round in 0..12 {
            let bank = bank(&stores, round % 4).await;
            accounts.push(bank.accounts.open(&long_name()).await.unwrap());
            for _ in 0..5 {
                let account = accounts[rng.usize(..accounts.len())];
                let amount = format!("{}.{:02}", rng.u32(1..1_000_000), rng.u32(..100));
                bank.accounts.credit(account, money(&amount)).await.unwrap();
            }
            bank.stop().await.unwrap();
        }
        for encoding in 0..4 {
            let bank = bank(&stores, encoding).await;
            assert_consistent(&bank).await;
            assert!(bank.verify().await.unwrap().agrees(), "{}", place.url());
            bank.stop().await.unwrap();
        }
        let log = stores.store().read_log(LogQuery::after(Position::ZERO)).await.unwrap().events;
        for codec in 1..=4 {
            assert!(log.iter().any(|event| event.codec.0 == codec), "codec {codec} was in use");
        }
        for event in &log {
            let fields = Codec::decode_value(event).unwrap();
            match event.name.as_str() {
                "Opened" if event.stream.category == *"Account" => assert_eq!(fields["owner"], long_name()),
                "Credited" => assert!(matches!(&fields["amount"], Value::String(_)), "{fields}"),
                _ => assert!(fields.is_object(), "{fields}"),
            }
        }
    }
}
