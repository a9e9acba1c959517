//! The bank with every codec on every store, also several codecs in one stream, and the output for people.
#![allow(
    clippy::self_named_constructors,
    clippy::enum_variant_names,
    reason = "events and shapes are named for what they are"
)]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod values;

use std::process::Command;

use bank_example::domain::account::Account;
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{LogQuery, Position};
use eventsourcing::testing::Seed;
use eventsourcing::{Codec, Compression, Id, Runner, RunningSystem, Stores};
use serde_json::Value;
use support::serving::Server;
use support::{Place, assert_consistent, money};

/// Starts a bank with one of the encodings.
async fn bank(stores: &Stores, encoding: usize) -> RunningSystem<EventSourcedBank> {
    let builder = EventSourcedBank::builder(stores.clone()).with_runner(Runner::inline());
    let everything = Compression::zstd().above_bytes(0);
    let builder = match encoding {
        0 => builder,
        1 => builder.with_codec(Codec::MessagePack),
        2 => builder.with_compression(everything),
        _ => builder
            .with_codec(Codec::MessagePack)
            .with_compression(everything),
    };
    builder.start().await.unwrap()
}

/// Returns a name that is long enough to be compressed.
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
            accounts.push(bank.accounts.open(&long_name()).await.unwrap().id);
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
        let log = stores
            .store()
            .read_log(LogQuery::after(Position::ZERO))
            .await
            .unwrap()
            .events;
        for codec in 1..=4 {
            assert!(
                log.iter().any(|event| event.codec.0 == codec),
                "codec {codec} was in use"
            );
        }
        for event in &log {
            let fields = Codec::decode_value(event).unwrap();
            match event.name.as_str() {
                "Opened" if event.stream.category == *"Account" => {
                    assert_eq!(fields["owner"], long_name());
                }
                "Credited" => assert!(matches!(&fields["amount"], Value::String(_)), "{fields}"),
                _ => assert!(fields.is_object(), "{fields}"),
            }
        }
    }
}

/// The log, the history, the pages and the API.
#[tokio::test(flavor = "multi_thread")]
async fn people_see_what_is_stored_whatever_codec_wrote_it() {
    let Some(place) = Place::all_durable().into_iter().next() else {
        panic!("a file")
    };
    let stores = stores::open(place.url()).await.unwrap();
    let mut account = Id::new();
    for encoding in 0..4 {
        let bank = bank(&stores, encoding).await;
        account = bank
            .accounts
            .open(&format!("Owner {encoding} {}", &long_name()[..150]))
            .await
            .unwrap()
            .id;
        bank.accounts.credit(account, money("12.34")).await.unwrap();
        bank.stop().await.unwrap();
    }
    let text = run(place.url(), &["log"]);
    let json = run(place.url(), &["--json", "log"]);

    let server = Server::start(place.url());
    let mut client = server.client();
    let mut get = |path: &str| client.get(path).unwrap().text;
    let page = get("/log");
    let api = get("/api/log?limit=100");

    for encoding in 0..4 {
        let owner = format!("Owner {encoding} Alice");
        assert!(
            [&text, &json, &page, &api]
                .iter()
                .all(|shown| shown.contains(&owner)),
            "{encoding}"
        );
    }
    assert!(run(place.url(), &["history", &account.to_string()]).contains("12.34"));
    let events: Vec<Value> = serde_json::from_str(&json).unwrap();
    for event in events {
        let page = get(&format!("/log/{}", event["position"]));
        for (field, value) in event["payload"].as_object().unwrap() {
            let value = value.as_str().unwrap_or_default();
            assert!(
                page.contains(field) && page.contains(value),
                "{event}: {page}"
            );
        }
    }
}

fn run(url: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bank-example"))
        .args(["--store", url])
        .args(arguments)
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// On the command line the codec is an option.
#[tokio::test]
async fn codec_of_new_events_is_chosen_on_the_command_line() {
    for place in Place::all_durable() {
        run(place.url(), &["open", "Alice"]);
        run(place.url(), &["--codec", "message-pack", "open", "Bob"]);
        let log = stores::open(place.url()).await.unwrap().store();
        let events = log
            .read_log(LogQuery::after(Position::ZERO).categories(["Account"]))
            .await
            .unwrap()
            .events;
        assert_eq!(
            events.iter().map(|event| event.codec.0).collect::<Vec<_>>(),
            [1, 2]
        );
        let accounts = run(place.url(), &["accounts"]);
        assert!(
            accounts.contains("Alice") && accounts.contains("Bob"),
            "{accounts}"
        );
    }
}
