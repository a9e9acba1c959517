//! A follower that is 100,000 events behind: its lag is shown while it catches up.
//!
//! `cargo test --release -p bank-example --test catching_up -- --nocapture` prints the rate.
#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod support;

use std::time::{Duration, Instant};

use bank_example::application::accounts::AccountService;
use bank_example::application::ledger::LedgerService;
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::{GENERAL, Ledger};
use eventsourcing::{Application, Id, Root, RunningSystem, System};
use support::{Place, money};

const EVENTS: u64 = 100_000;
const ACCOUNTS: u64 = 100;

/// The part of the bank that records events in reaction to others.
#[derive(Debug, System)]
struct Bookkeeping {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: LedgerService,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_100_000_events_behind_shows_how_it_catches_up() {
    for place in Place::all() {
        let stores = bank_example::stores::open(place.url())
            .await
            .expect("a store");
        let app = Application::new("accounts", stores.store());
        for number in 0..ACCOUNTS {
            let mut account = Root::<Account>::create(AccountEvent::Opened {
                owner: format!("Owner {number}"),
            });
            for _ in 1..EVENTS / ACCOUNTS {
                account.record(AccountEvent::Credited {
                    amount: money("0.01"),
                });
            }
            app.save(&mut account).await.expect("a save");
        }

        let start = Instant::now();
        let bank: RunningSystem<Bookkeeping> = Bookkeeping::builder(stores)
            .start()
            .await
            .expect("the bank starts");
        let mut lags = Vec::new();
        loop {
            let health = bank.health().await.expect("an answer");
            let lag = health.followers[0].lag;
            lags.push(lag);
            if lag == 0 {
                break;
            }
            assert!(health.followers[0].behind > Duration::ZERO, "{health:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!(lags[0] > EVENTS / 2, "it began far behind: {lags:?}");
        assert!(
            lags.is_sorted_by(|earlier, later| earlier >= later),
            "it comes nearer all the time: {lags:?}"
        );
        assert!(lags.len() > 3, "that is shown: {lags:?}");
        eprintln!(
            "{}: {:.0} events a second",
            place.url(),
            EVENTS as f64 / seconds
        );

        bank.wait_until_caught_up().await.expect("it has caught up");
        let ledger = bank
            .ledger
            .load(Id::<Ledger>::named(GENERAL))
            .await
            .expect("the ledger");
        assert_eq!(ledger.transactions, EVENTS - ACCOUNTS);
        bank.stop().await.expect("a graceful end");
    }
}
