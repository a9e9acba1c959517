//! The bank is moved from one store to another through a file, by the real program, which is also killed on the way.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bank_example::application::transfers::TIMEOUT;
use bank_example::domain::account::Account;
use bank_example::domain::transfer::{Order, State, Transfer};
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use eventsourcing::archive::{export, import};
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{MemoryStore, Position};
use eventsourcing::testing::{ManualClock, Seed};
use eventsourcing::{Codec, FollowerName, Id, OnFailure, Runner, RunningSystem, Stores};
use jiff::Timestamp;
use serde_json::Value;
use support::{Place, assert_consistent, assert_transfers_ended, money, record_unreadable_event};
use tempfile::TempDir;

const KILLS: u32 = 20;

fn bank_example(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank-example"));
    command
        .args(["--store", url])
        .args(arguments)
        .env_remove("RUST_LOG");
    command
}

fn run(url: &str, arguments: &[&str]) -> Output {
    bank_example(url, arguments).output().unwrap()
}

fn text(url: &str, arguments: &[&str]) -> String {
    let output = run(url, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn failure(url: &str, arguments: &[&str]) -> String {
    let output = run(url, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.lines().count() == 1,
        "{arguments:?}: {said}"
    );
    said
}

fn sqlite(folder: &TempDir, name: &str) -> String {
    format!("sqlite:{}", folder.path().join(name).display())
}

fn path(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn start(url: &str, clock: Timestamp) -> RunningSystem<EventSourcedBank> {
    let manual = ManualClock::new();
    let stores = stores::open(url).await.unwrap();

    manual.set(clock);
    let builder = EventSourcedBank::builder(stores).with_clock(manual);
    let builder = builder
        .with_runner(Runner::inline().without_leases())
        .with_on_failure_default(OnFailure::Park);
    builder.start().await.unwrap()
}

/// A clock by which no timer of the program is due, which uses the clock of the machine.
fn morning() -> Timestamp {
    "2100-03-01T08:00:00Z".parse().unwrap()
}

/// Fills a bank with accounts, transfers of every kind, a pending timer, and a parked account. Returns the parked
/// account, and the transfer that waits for another bank.
async fn use_bank(url: &str, seed: Seed) -> (Id<Account>, Id<Transfer>) {
    let mut rng = seed.rng(7);
    for codec in [Codec::Json, Codec::MessagePack] {
        let builder = EventSourcedBank::builder(stores::open(url).await.unwrap()).with_codec(codec);
        let bank = builder
            .with_runner(Runner::inline().without_leases())
            .start()
            .await
            .unwrap();
        let mut accounts = Vec::new();
        for number in 0..5 {
            let account = bank
                .accounts
                .open(&format!("Owner {number} \u{1F980}"))
                .await
                .unwrap()
                .id;
            bank.accounts.credit(account, money("1000")).await.unwrap();
            accounts.push(account);
        }
        for _ in 0..20 {
            let from = accounts[rng.usize(..5)];
            let to = accounts[rng.usize(..5)];

            let amount = money(&format!("{}.{:02}", rng.u32(1..300), rng.u32(..100)));
            // The bank may reject it, for example because both accounts are the same.
            let _ = bank.accounts.transfer(from, to, amount).await;
            let _ = bank
                .transfers
                .request(Order {
                    from,
                    to,
                    bank: None,
                    amount,
                })
                .await;
        }
        bank.stop().await.unwrap();
    }
    let bank = start(url, morning()).await;
    let alice = bank.accounts.open("Alice").await.unwrap().id;
    let mallory = bank.accounts.open("Mallory").await.unwrap().id;

    bank.accounts.credit(alice, money("50")).await.unwrap();
    let order = Order {
        from: alice,
        to: Id::new(),
        bank: Some("elsewhere".into()),
        amount: money("20"),
    };
    let waiting = bank.transfers.request(order).await.unwrap().id;
    record_unreadable_event(&bank, mallory).await;
    bank.wait_until_caught_up().await.unwrap();
    bank.stop().await.unwrap();
    (mallory, waiting)
}

/// Returns the lines of an archive without the parts that differ between stores: positions, the log, the checksum.
fn comparable(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let strip = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        for key in ["position", "head", "log", "sha256"] {
            if value.get(key).is_some() {
                value[key] = Value::Null;
            }
        }
        if let Some(note) = value
            .get("note")
            .and_then(Value::as_str)
            .filter(|note| note.starts_with('{'))
        {
            let mut note: Value = serde_json::from_str(note).unwrap();
            note["position"] = Value::Null;
            value["note"] = note;
        }
        value.to_string()
    };
    text.lines().map(strip).collect()
}

fn assert_same(left: &Path, right: &Path) {
    let left = comparable(left);
    let right = comparable(right);

    let difference = left.iter().zip(&right).find(|(left, right)| left != right);
    assert_eq!((difference, left.len()), (None, right.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_goes_round_through_files_and_every_store_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = sqlite(&folder, "first.db");
    let server = Place::postgres();
    let last = sqlite(&folder, "last.db");

    let (parked, waiting) = use_bank(&first, Seed::from_env()).await;
    let files = ["1.jsonl", "2.jsonl", "3.jsonl"].map(|file| path(&folder, file));
    assert!(
        text(&first, &["export", name(&files[0])])
            .contains("and the positions of accounts, transfers, ledger")
    );
    // On this server positions have gaps, so only the order of the events is the same.
    text(server.url(), &["import", name(&files[0])]);
    text(server.url(), &["export", name(&files[1])]);
    let said = text(&last, &["import", name(&files[1])]);
    assert!(
        said.starts_with("imported ") && said.contains("each processed once"),
        "{said}"
    );
    text(&last, &["export", name(&files[2])]);
    assert_same(&files[0], &files[1]);
    assert_same(&files[1], &files[2]);

    // The transfer to the other bank still waits, and its timeout comes once.
    for url in [&first, server.url(), &last] {
        let bank = start(url, morning() + TIMEOUT + Duration::from_secs(1)).await;
        bank.wait_until_caught_up().await.unwrap();
        let transfer = bank.transfers.load(waiting).await.unwrap();
        assert!(
            matches!(transfer.state, State::Compensated { .. }),
            "{url}: {:?}",
            transfer.state
        );
        let alice = bank.accounts.load(transfer.order.from).await.unwrap();
        assert_eq!(
            (alice.balance, alice.version().as_u64()),
            (money("50"), 4),
            "{url}"
        );
        assert_transfers_ended(&bank).await;
        let stream = parked.stream();
        for follower in ["ledger", "activity", "summaries"] {
            let parking = bank.parking(FollowerName::new(follower)).unwrap();
            assert_eq!(parking.list().await.unwrap().len(), 1, "{url}: {follower}");
            let edited = serde_json::json!({ "amount": "12.34" });
            assert!(
                parking
                    .retry_edited(&stream, edited)
                    .await
                    .unwrap()
                    .failure
                    .is_none()
            );
        }
        assert!(bank.verify().await.unwrap().agrees(), "{url}");
        bank.stop().await.unwrap();
    }
    let ledger = |url: &str| text(url, &["ledger"]);
    assert_eq!(ledger(&first), ledger(server.url()));
    assert_eq!(ledger(&first), ledger(&last));
}

/// An archive that is taken while the bank is busy is of one moment, so it agrees with itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_a_busy_bank_is_of_one_moment() {
    for place in Place::all_durable() {
        let stores = stores::open(place.url()).await.unwrap();
        let bank = Arc::new(
            EventSourcedBank::start(stores.clone(), Runner::concurrent())
                .await
                .unwrap(),
        );
        let worker = tokio::spawn(work(Arc::clone(&bank)));
        let mut counts = Vec::new();
        for _ in 0..8 {
            let mut file = Vec::new();
            let exported = export::<EventSourcedBank>(stores.store(), &mut file, |_| {})
                .await
                .unwrap();
            counts.push(exported.events);
            let copy = MemoryStore::new();
            import(copy.clone(), std::io::Cursor::new(file), |_| {})
                .await
                .unwrap();
            let stores = Stores::shared(copy).with_read_models(SqliteStore::in_memory().unwrap());
            let copy = EventSourcedBank::start(stores, Runner::inline())
                .await
                .unwrap();
            assert_consistent(&copy).await;
            assert_transfers_ended(&copy).await;
            assert!(copy.verify().await.unwrap().agrees());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        worker.abort();
        assert!(counts.is_sorted() && counts[0] < counts[7], "{counts:?}");
    }
}

/// Moves money forever: often enough that the bank is never idle for long, rarely enough that it catches up now and
/// then.
async fn work(bank: Arc<RunningSystem<EventSourcedBank>>) {
    let mut accounts = Vec::new();
    for _ in 0..4 {
        let account = bank.accounts.open("Alice").await.unwrap().id;
        bank.accounts
            .credit(account, money("100000"))
            .await
            .unwrap();
        accounts.push(account);
    }
    for number in 0.. {
        let from = accounts[number % 4];
        let to = accounts[(number + 1) % 4];

        bank.accounts.credit(from, money("1")).await.unwrap();
        let order = Order {
            from,
            to,
            bank: None,
            amount: money("0.50"),
        };
        bank.transfers.request(order).await.unwrap();
        tokio::time::sleep(Duration::from_millis(number as u64 % 7)).await;
    }
}

/// Exports a bank whose import takes a while.
async fn large_bank(events: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let stores =
        Stores::shared(MemoryStore::new()).with_read_models(SqliteStore::in_memory().unwrap());
    let bank = EventSourcedBank::start(stores.clone(), Runner::concurrent())
        .await
        .unwrap();
    let mut accounts = Vec::new();
    for number in 0..20 {
        accounts.push(
            bank.accounts
                .open(&format!("Owner {number}"))
                .await
                .unwrap()
                .id,
        );
    }
    for number in 0..events / 2 {
        bank.accounts
            .credit(accounts[number % 20], money("1.00"))
            .await
            .unwrap();
    }
    bank.wait_until_caught_up().await.unwrap();
    let file = path(&folder, "large.jsonl");
    let out = tokio::fs::File::create(&file).await.unwrap();
    export::<EventSourcedBank>(stores.store(), out, |_| {})
        .await
        .unwrap();
    (folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    let seed = Seed::from_env();
    let (folder, file) = large_bank(4_000).await;
    let places = Place::all_durable().into_iter().zip(0..);
    for (place, number) in places {
        let mut rng = seed.rng(number);
        let mut kills = 0;
        let mut rounds = 0;

        let mut url = place.url().to_owned();
        while kills < KILLS {
            rounds += 1;
            while kills < KILLS {
                let mut child = bank_example(&url, &["import", name(&file)]);
                let mut child = child
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(rng.u64(10..700))).await;
                if let Some(status) = child.try_wait().unwrap() {
                    assert!(status.success(), "{:?}", child.wait_with_output());
                    break;
                }
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                assert!(rounds < 40, "it is too fast to be killed");
            }
            // Run once more, the import is finished, or was before.
            text(&url, &["import", name(&file)]);
            assert_whole(&url, &file, &folder, number).await;
            if kills < KILLS {
                url = if number == 0 {
                    sqlite(&folder, &format!("{rounds}.db"))
                } else {
                    Place::postgres().url().to_owned()
                };
            }
        }
        eprintln!("{}: {kills} kills in {rounds} imports", place.url());
    }
}

async fn assert_whole(url: &str, file: &Path, folder: &TempDir, number: u64) {
    let again = path(folder, &format!("again {number}.jsonl"));
    let _ = std::fs::remove_file(&again);
    text(url, &["export", name(&again)]);
    assert_same(file, &again);
    let bank = EventSourcedBank::start(stores::open(url).await.unwrap(), Runner::inline())
        .await
        .unwrap();
    assert_consistent(&bank).await;
    assert!(bank.verify().await.unwrap().agrees());
    bank.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_in_the_middle_of_an_import_is_refused() {
    let (folder, file) = large_bank(3_000).await;
    let url = sqlite(&folder, "half.db");
    let mut child = bank_example(&url, &["import", name(&file)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        let store = SqliteStore::open(path(&folder, "half.db")).await;
        let head = match store {
            Ok(store) => eventsourcing::store::EventStore::head(&store)
                .await
                .unwrap(),
            Err(_) => Position::ZERO,
        };
        if head > Position::ZERO {
            break;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "it is too fast to be interrupted"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for arguments in [
        &["ledger"][..],
        &["open", "Bob"],
        &["verify"],
        &["log"],
        &["serve", "--addr", "127.0.0.1:0"],
    ] {
        let said = failure(&url, arguments);
        assert!(
            said.contains("an import into this store is not finished"),
            "{arguments:?}: {said}"
        );
    }
    assert!(text(&url, &["import", name(&file)]).contains("of them before it was interrupted"));
    assert_whole(&url, &file, &folder, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_archives_are_refused_in_one_line() {
    let (folder, file) = large_bank(100).await;
    let whole = std::fs::read_to_string(&file).unwrap();
    let foreign = path(&folder, "foreign");
    let cut = path(&folder, "cut");
    let gone = path(&folder, "gone");

    std::fs::write(&foreign, "[]\n").unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let url = sqlite(&folder, "new.db");
    assert_eq!(
        failure(&url, &["import", name(&foreign)]),
        "error: line 1: not an archive of events\n"
    );
    let said = failure(&url, &["import", name(&cut)]);
    let line = whole[..whole.len() / 2].lines().count();
    assert_eq!(
        said,
        format!("error: line {line}: the file is cut off within this line\n")
    );
    assert!(failure(&url, &["import", name(&gone)]).contains("cannot be read"));
    let mut from_a_pipe = bank_example(&url, &["import", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _pipe = from_a_pipe.stdin.take().unwrap();
    let said = String::from_utf8(from_a_pipe.wait_with_output().unwrap().stderr).unwrap();
    assert_eq!(
        said,
        "error: the archive cannot be read or written: an import reads it several times, and a pipe can be read once; \
         copy it to a file\n"
    );
    // No event of it is in the store.
    text(&url, &["import", name(&file)]);
    assert!(text(&url, &["import", name(&file)]).starts_with("this archive was imported before"));
    let other = sqlite(&folder, "other.db");
    text(&other, &["open", "Alice"]);
    assert!(failure(&other, &["import", name(&file)]).contains("the store is not empty"));
}

#[test]
fn an_export_appears_when_it_is_whole_and_never_replaces_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(&folder, "bank.db");
    text(&url, &["demo"]);
    let file = path(&folder, "bank.jsonl");
    std::fs::write(
        path(&folder, "bank.jsonl.partial"),
        "what an export that was killed has left",
    )
    .unwrap();
    text(&url, &["export", name(&file)]);
    assert!(!path(&folder, "bank.jsonl.partial").exists());
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(failure(&url, &["export", name(&file)]).contains("exists; choose another name"));
    assert_eq!(text(&url, &["export", "-"]), written);
    let json: Value = serde_json::from_str(&text(
        &url,
        &["--json", "export", name(&path(&folder, "2"))],
    ))
    .unwrap();
    assert_eq!(
        json["events"].as_u64().unwrap() as usize,
        written.matches("{\"position\"").count()
    );
}
