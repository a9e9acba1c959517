//! The bank as a library, on every store.

mod support;

use std::sync::Arc;

use bank_example::domain::BankError;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use eventsourcing::snapshot::never;
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{CommandId, EventStore as _, Load, Position, Version};
use eventsourcing::{Aggregate, Application, CommandError, Id, Runner, Stores};
use support::{Place, assert_consistent, money};

/// Opens every store the bank runs on, empty. The places must live as long as the stores are used.
async fn stores() -> (Vec<Place>, Vec<Stores>) {
    let mut places = Vec::new();
    let mut stores = Vec::new();

    for place in Place::all() {
        stores.push(
            bank_example::stores::open(place.url())
                .await
                .expect("a new store"),
        );
        places.push(place);
    }
    (places, stores)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_at_the_bank() {
    let (_places, stores) = stores().await;
    for stores in stores {
        for runner in [Runner::inline(), Runner::concurrent()] {
            let bank = EventSourcedBank::start(stores.clone(), runner)
                .await
                .expect("the bank starts");
            let before = assert_consistent(&bank).await;
            let alice = bank.accounts.open("Alice").await.expect("an account").id;
            let bob = bank.accounts.open("Bob").await.expect("an account").id;
            bank.accounts
                .credit(alice, money("20"))
                .await
                .expect("a credit");
            bank.accounts
                .debit(alice, money("0.50"))
                .await
                .expect("a debit");
            bank.accounts
                .transfer(alice, bob, money("9.50"))
                .await
                .expect("a transfer");
            let after = assert_consistent(&bank).await;
            assert_eq!(
                (after.0 - before.0, after.1 - before.1),
                (money("19.50"), 4)
            );
            assert_eq!(
                bank.accounts.load(bob).await.expect("Bob").balance,
                money("9.50")
            );
            bank.stop().await.expect("a graceful end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_refused_stays_refused_and_one_that_was_carried_out_done() {
    let (places, stores) = stores().await;
    for (place, stores) in places.iter().zip(stores) {
        let bank = EventSourcedBank::start(stores, Runner::inline())
            .await
            .expect("the bank starts");
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        // A store in memory has no other process.
        let other = match place.url() {
            "memory:" => (*bank.accounts).clone(),
            url => {
                let stores = bank_example::stores::open(url)
                    .await
                    .expect("the same store");
                Application::new("accounts", stores.store())
            }
        };
        let debit = async |application: &Application, id: CommandId| {
            let teller = application.command(id);
            teller
                .once(teller.update(alice, |account| account.debit(money("5"))))
                .await
        };
        let refused = CommandId::new();
        let done = CommandId::new();

        let funds = |balance: &str| BankError::InsufficientFunds {
            balance: money(balance),
            amount: money("5"),
        };
        assert!(
            matches!(debit(&bank.accounts, refused).await, Err(CommandError::Rejected(refusal)) if refusal == funds("0.00"))
        );
        bank.accounts
            .credit(alice, money("7"))
            .await
            .expect("a credit");
        for application in [&bank.accounts, &other] {
            let again = debit(application, refused).await;
            assert!(
                matches!(&again, Err(CommandError::Rejected(refusal)) if *refusal == funds("0.00")),
                "{again:?}"
            );
            let told = application
                .command(refused)
                .first_answer::<BankError>()
                .await
                .expect("an answer");
            assert_eq!(told, Some(Err(funds("0.00"))));
        }
        let receipt = debit(&other, done).await.expect("there is enough");
        assert_eq!(
            debit(&bank.accounts, done).await.expect("its receipt"),
            receipt
        );
        assert_eq!(assert_consistent(&bank).await, (money("2.00"), 2));
        assert!(bank.verify().await.expect("it is verified").agrees());
        bank.stop().await.expect("a graceful end");
    }
}

#[tokio::test]
async fn a_refused_transfer_changes_nothing() {
    let (_places, stores) = stores().await;
    for stores in stores {
        let bank = EventSourcedBank::start(stores.clone(), Runner::inline())
            .await
            .expect("the bank starts");
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        let bob = bank.accounts.open("Bob").await.expect("an account").id;
        bank.accounts
            .credit(alice, money("20"))
            .await
            .expect("a credit");
        let head = stores.store().head().await.expect("a head");
        let too_much = bank.accounts.transfer(alice, bob, money("20.01")).await;
        assert!(matches!(
            too_much,
            Err(CommandError::Rejected(BankError::InsufficientFunds { .. }))
        ));
        let to_herself = bank.accounts.transfer(alice, alice, money("1")).await;
        assert!(matches!(
            to_herself,
            Err(CommandError::Rejected(BankError::SameAccount))
        ));
        let to_unknown_account = bank.accounts.transfer(alice, Id::new(), money("1")).await;
        assert!(matches!(
            to_unknown_account,
            Err(CommandError::Application(_))
        ));
        assert_eq!(stores.store().head().await.expect("a head"), head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transfers_in_both_directions_lose_nothing() {
    let (_places, stores) = stores().await;
    for stores in stores {
        let bank = EventSourcedBank::start(stores, Runner::concurrent())
            .await
            .expect("the bank starts");
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        let bob = bank.accounts.open("Bob").await.expect("an account").id;
        for account in [alice, bob] {
            bank.accounts
                .credit(account, money("1000"))
                .await
                .expect("a credit");
        }
        let bank = Arc::new(bank);
        let transfers = (0..20).map(|number| {
            let bank = Arc::clone(&bank);
            let (from, to) = if number % 2 == 0 {
                (alice, bob)
            } else {
                (bob, alice)
            };
            tokio::spawn(async move { bank.accounts.transfer(from, to, money("3.33")).await })
        });
        for transfer in transfers.collect::<Vec<_>>() {
            transfer
                .await
                .expect("no panic")
                .expect("no error reaches the user");
        }
        assert_eq!(assert_consistent(&bank).await, (money("2000"), 2 + 2 * 20));
        assert_eq!(
            bank.accounts.load(alice).await.expect("Alice").balance,
            money("1000")
        );
    }
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    let (_places, stores) = stores().await;
    for stores in stores {
        let bank = EventSourcedBank::start(stores, Runner::inline())
            .await
            .expect("the bank starts");
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        bank.accounts
            .credit(alice, money("20"))
            .await
            .expect("a credit");
        let request = CommandId::new();
        let debit = async || {
            let amount = money("20");
            bank.accounts
                .command(request)
                .update(alice, |account| account.debit(amount))
                .await
        };
        let first = debit().await.expect("a debit");
        assert_eq!(debit().await.expect("the first receipt"), first);
        assert_eq!(assert_consistent(&bank).await, (money("0"), 2));
    }
}

#[tokio::test]
async fn an_account_of_10_000_events_loads_through_its_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bank.db");
    let store = SqliteStore::open(&path).await.expect("a new database");
    let bank = EventSourcedBank::start(store.clone(), Runner::concurrent())
        .await
        .expect("the bank starts");
    let alice = bank.accounts.open("Alice").await.expect("an account").id;
    let mut account = bank.accounts.load(alice).await.expect("Alice");
    while account.version().as_u64() < 10_000 {
        // A few at once, so that snapshots do not fall on round versions.
        for _ in 0..(10_000 - account.version().as_u64()).min(7) {
            account
                .execute(|account| account.credit(money("0.01")))
                .expect("a credit");
        }
        bank.accounts.save(&mut account).await.expect("a save");
    }

    let load = || Load::new(alice.stream()).with_snapshot(<Account as Aggregate>::FINGERPRINT);
    let loaded = store.load(load()).await.expect("a load");
    assert!(loaded.snapshot.is_some());
    assert!(
        loaded.events.len() <= 50,
        "{} events are read",
        loaded.events.len()
    );

    let with_snapshots = bank.accounts.load(alice).await.expect("Alice").into_state();
    assert_consistent(&bank).await;
    bank.stop().await.expect("a graceful end");
    let deleted = rusqlite::Connection::open(&path)
        .and_then(|file| file.execute("DELETE FROM eventsourcing_snapshots", []));
    assert!(deleted.expect("snapshots are deleted") >= 200);

    let loaded = store.load(load()).await.expect("a load");
    assert_eq!((loaded.snapshot, loaded.events.len()), (None, 10_000));
    let bank = EventSourcedBank::start(store, Runner::concurrent())
        .await
        .expect("the bank starts");
    let without = bank.accounts.load(alice).await.expect("Alice").into_state();
    assert_eq!(
        (without.owner, without.balance),
        (with_snapshots.owner, with_snapshots.balance)
    );
    assert_consistent(&bank).await;
}

#[tokio::test]
async fn snapshots_change_no_result() {
    let run = async |bank: EventSourcedBankStart| {
        let bank = bank.await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        for _ in 0..120 {
            bank.accounts
                .credit(alice, money("1"))
                .await
                .expect("a credit");
        }
        let past = bank
            .accounts
            .load_at(alice, Version::new(101))
            .await
            .expect("a past version");
        assert_eq!(past.balance, money("100"));
        assert_consistent(&bank).await
    };
    let with = Box::pin(async {
        EventSourcedBank::start(in_memory().await, Runner::inline())
            .await
            .expect("a start")
    });
    let without = Box::pin(async {
        EventSourcedBank::builder(in_memory().await)
            .with_runner(Runner::inline())
            .with_application(EventSourcedBank::ACCOUNTS, |app| {
                app.with_snapshots::<Account>(never())
            })
            .start()
            .await
            .expect("a start")
    });
    assert_eq!(run(with).await, run(without).await);
}

async fn in_memory() -> Stores {
    bank_example::stores::open("memory:")
        .await
        .expect("a new store")
}

type EventSourcedBankStart =
    std::pin::Pin<Box<dyn Future<Output = eventsourcing::RunningSystem<EventSourcedBank>>>>;

#[tokio::test]
async fn accounts_are_listed_from_the_store() {
    let (_places, stores) = stores().await;
    for stores in stores {
        let bank = EventSourcedBank::start(stores.clone(), Runner::inline())
            .await
            .expect("the bank starts");
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        let bob = bank.accounts.open("Bob").await.expect("an account").id;
        bank.accounts
            .credit(alice, money("1"))
            .await
            .expect("a credit");
        drop(bank);
        let bank = EventSourcedBank::start(stores, Runner::inline())
            .await
            .expect("the bank starts again");
        assert_eq!(
            bank.accounts
                .ids::<Account>(Position::ZERO, 10)
                .await
                .expect("ids")
                .ids,
            [alice, bob]
        );
    }
}
