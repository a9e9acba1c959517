//! Transfers in steps: every transfer ends, and no money is created or lost, whatever the banks answer and however
//! late.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::application::ledger::LedgerService;
use bank_example::application::transfers::{TIMEOUT, TransferService, on_answer};
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::Ledger;
use bank_example::domain::transfer::{Leg, LegEvent, Order, Side, State, Transfer, TransferEvent};
use bank_example::domain::{BankError, Money, ZERO};
use bank_example::system::EventSourcedBank;
use derive_more::{Deref, From};
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{MemoryStore, Position};
use eventsourcing::testing::{ManualClock, PolicyScenario, Scenario as _};
use eventsourcing::{
    Aggregate, Application, ApplicationError, CommandError, Id, Policy, RecordedEvent, Runner,
    RunningSystem, Stores, System, UnitOfWork, event,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use support::{Place, assert_consistent, assert_transfers_ended, money};

fn order(from: Id<Account>, to: Id<Account>, amount: &str) -> Order {
    Order {
        from,
        to,
        bank: None,
        amount: money(amount),
    }
}

async fn opened(bank: &EventSourcedBank, amount: &str) -> Id<Account> {
    let account = bank.accounts.open("Alice").await.expect("an account").id;
    bank.accounts
        .credit(account, money(amount))
        .await
        .expect("a credit");
    account
}

async fn balance(accounts: &AccountService, id: Id<Account>) -> Money {
    accounts.load(id).await.expect("an account").balance
}

/// Everything in one store, and each application in a store of its own.
fn arrangements() -> [Stores; 2] {
    let shared = || {
        Stores::shared(MemoryStore::new())
            .with_read_models(SqliteStore::in_memory().expect("a database"))
    };
    [
        shared(),
        shared()
            .with("transfers", MemoryStore::new())
            .with("ledger", MemoryStore::new()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_ends_within_one_store_and_across_stores() {
    let on_disk: Vec<_> = Place::all_durable();
    let mut all: Vec<Stores> = arrangements().into();
    for place in &on_disk {
        all.push(
            bank_example::stores::open(place.url())
                .await
                .expect("the store opens"),
        );
    }
    for stores in all {
        for runner in [Runner::inline(), Runner::concurrent()] {
            let bank = EventSourcedBank::start(stores.clone(), runner)
                .await
                .expect("the bank starts");
            let alice = opened(&bank, "100").await;
            let bob = opened(&bank, "0.01").await;

            let completed = bank
                .transfers
                .request(order(alice, bob, "30"))
                .await
                .expect("a request")
                .id;
            let to_unknown_account = bank
                .transfers
                .request(order(alice, Id::new(), "20"))
                .await
                .expect("a request")
                .id;
            let from_unknown_account = bank
                .transfers
                .request(order(Id::new(), bob, "20"))
                .await
                .expect("a request")
                .id;
            let too_much = bank
                .transfers
                .request(order(bob, alice, "1000"))
                .await
                .expect("a request")
                .id;
            bank.wait_until_caught_up()
                .await
                .expect("everything comes to rest");
            let state = async |id: Id<Transfer>| {
                bank.transfers
                    .load(id)
                    .await
                    .expect("a transfer")
                    .state
                    .clone()
            };
            assert_eq!(state(completed).await, State::Completed);
            assert!(
                matches!(state(to_unknown_account).await, State::Compensated { reason } if reason.contains("not exist"))
            );
            assert!(
                matches!(state(from_unknown_account).await, State::Refused { reason } if reason.contains("not exist"))
            );
            assert!(
                matches!(state(too_much).await, State::Refused { reason } if reason.contains("insufficient"))
            );
            assert_eq!(balance(&bank.accounts, alice).await, money("70"));
            assert_eq!(balance(&bank.accounts, bob).await, money("30.01"));
            assert_consistent(&bank).await;
            assert_transfers_ended(&bank).await;
            let health = bank.health().await.expect("health");
            assert!(
                health.followers.iter().all(|follower| follower.timers == 0),
                "no timer is left"
            );
            bank.stop().await.expect("a graceful end");
        }
    }
}

#[tokio::test]
async fn an_invalid_transfer_is_refused_before_it_begins() {
    let bank = EventSourcedBank::start(arrangements()[0].clone(), Runner::inline())
        .await
        .expect("the bank starts");
    let alice = opened(&bank, "1").await;
    let to_herself = bank.transfers.request(order(alice, alice, "1")).await;
    assert!(matches!(
        to_herself,
        Err(CommandError::Rejected(BankError::SameAccount))
    ));
    let nothing = bank.transfers.request(order(alice, Id::new(), "0")).await;
    assert!(matches!(
        nothing,
        Err(CommandError::Rejected(BankError::InvalidAmount(_)))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_settles_while_others_go_on() {
    let bank = EventSourcedBank::start(arrangements()[0].clone(), Runner::concurrent())
        .await
        .expect("the bank starts");
    let alice = opened(&bank, "100").await;
    let bob = opened(&bank, "1").await;

    let stop = Arc::new(AtomicBool::new(false));
    let busy = {
        let stop = Arc::clone(&stop);
        let accounts = Application::clone(&bank.accounts);

        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                accounts
                    .update(bob, |bob| bob.credit(money("0.01")))
                    .await
                    .expect("a credit");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    let transfer = bank
        .transfers
        .request(order(alice, bob, "30"))
        .await
        .expect("a request")
        .id;
    let settled = tokio::time::timeout(Duration::from_secs(20), bank.wait_until_caught_up()).await;
    assert!(!busy.is_finished());
    stop.store(true, Ordering::SeqCst);
    busy.await.expect("no panic");
    settled
        .expect("it settles although others go on")
        .expect("no follower stopped");
    assert_eq!(
        bank.transfers
            .load(transfer)
            .await
            .expect("a transfer")
            .state,
        State::Completed
    );
    assert_consistent(&bank).await;
}

fn transfer_of(order: &Order) -> TransferEvent {
    TransferEvent::Requested {
        order: order.clone(),
    }
}

#[test]
fn the_first_decision_stands() {
    let order = order(Id::new(), Id::new(), "5");
    let debited = || TransferEvent::Debited {
        order: order.clone(),
    };
    let compensated = TransferEvent::Compensated {
        order: order.clone(),
        reason: "too late".into(),
    };
    let completed = TransferEvent::Completed {
        order: order.clone(),
    };
    for last in [
        compensated,
        completed,
        TransferEvent::Refused {
            reason: "no".into(),
        },
    ] {
        for side in [Side::Debit, Side::Credit] {
            for refusal in [None, Some("no".to_string())] {
                let history = [transfer_of(&order), debited(), last.clone()];
                Transfer::given(history)
                    .when(|transfer| transfer.answer(side, refusal))
                    .then_nothing();
            }
        }
        let history = [transfer_of(&order), debited(), last.clone()];
        Transfer::given(history)
            .when(Transfer::time_out)
            .then_nothing();
    }
}

#[tokio::test]
async fn the_time_of_the_second_bank_is_running_from_the_debit_to_its_answer() {
    let transfer = Id::<Transfer>::new();
    let order = order(Id::new(), Id::new(), "5");

    let leg = |side| Leg::id(transfer, side);
    let agreed = |side| LegEvent::Agreed { transfer, side };
    let debited = async || {
        PolicyScenario::<TransferService>::new()
            .given(transfer, transfer_of(&order))
            .await
            .when(leg(Side::Debit), agreed(Side::Debit))
            .await
            .then(
                transfer,
                TransferEvent::Debited {
                    order: order.clone(),
                },
            )
            .then_timer(transfer, Timestamp::UNIX_EPOCH + TIMEOUT, transfer)
    };
    debited()
        .await
        .when(leg(Side::Credit), agreed(Side::Credit))
        .await
        .then(
            transfer,
            TransferEvent::Completed {
                order: order.clone(),
            },
        )
        .then_no_timer()
        .then_nothing_else();
    let reason = "the other bank has not answered in time".to_string();
    debited()
        .await
        .when_due(transfer)
        .await
        .then(
            transfer,
            TransferEvent::Compensated {
                order: order.clone(),
                reason,
            },
        )
        .when(leg(Side::Credit), agreed(Side::Credit))
        .await
        .then_no_timer()
        .then_nothing_else();
}

/// Another bank, with accounts of its own kind in a store of its own.
#[derive(Debug, Deref, From)]
struct Partner(Application);

#[derive(Aggregate, Serialize, Deserialize)]
struct Giro {
    balance: Money,
}

#[event]
impl Giro {
    fn opened() -> Self {
        Self { balance: ZERO }
    }
    fn received(&mut self, amount: Money) {
        self.balance += amount;
    }
}

/// The answer of the other bank.
#[derive(Aggregate, Serialize, Deserialize)]
struct Reply {}

#[event]
impl Reply {
    fn given(_transfer: Id<Transfer>, _refusal: Option<String>) -> Self {
        Self {}
    }
}

fn giro(to: Id<Account>) -> Id<Giro> {
    Id::from_uuid(to.as_uuid())
}

impl Policy<Transfer> for Partner {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Transfer>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        match &event.payload {
            TransferEvent::Debited { order } if order.bank.is_some() => {
                let refusal = work
                    .find(giro(order.to))
                    .await?
                    .is_none()
                    .then(|| "no such giro".to_string());
                let reply = work.new_id::<Reply>();
                work.create(
                    reply,
                    ReplyEvent::Given {
                        transfer: event.aggregate_id,
                        refusal,
                    },
                );
            }
            TransferEvent::Completed { order } if order.bank.is_some() => {
                work.load(giro(order.to))
                    .await?
                    .record(GiroEvent::Received {
                        amount: order.amount,
                    });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Runs the transfers of both banks.
#[derive(Debug, Deref, From)]
struct BothBanks(TransferService);

impl From<Application> for BothBanks {
    fn from(app: Application) -> Self {
        Self(app.into())
    }
}

impl Policy<Leg> for BothBanks {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Leg>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        self.0.react(event, work).await
    }
}

impl Policy<Reply> for BothBanks {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Reply>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let ReplyEvent::Given { transfer, refusal } = event.payload.clone();
        on_answer(transfer, Side::Credit, refusal, event.recorded_at, work).await
    }
}

impl eventsourcing::Timers for BothBanks {
    type Timer = Id<Transfer>;
    type Error = ApplicationError;

    async fn due(
        &self,
        timer: &eventsourcing::Due<Id<Transfer>>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        self.0.due(timer, work).await
    }
}

#[derive(System)]
struct TwoBanks {
    #[application(aggregates(Account, Leg), follows(transfers: Transfer))]
    accounts: AccountService,

    #[application(aggregates(Giro, Reply), follows(transfers: Transfer))]
    partner: Partner,

    #[application(aggregates(Transfer), follows(accounts: Leg, partner: Reply), timers)]
    transfers: BothBanks,

    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: LedgerService,
}

/// The same system without the other bank, as if that were down for a while.
#[derive(System)]
#[system(name = "TwoBanks")]
struct OneBankOnly {
    #[application(aggregates(Account, Leg), follows(transfers: Transfer))]
    accounts: AccountService,

    #[expect(dead_code, reason = "it is not there to be asked")]
    #[application(aggregates(Giro, Reply))]
    partner: Partner,

    #[application(aggregates(Transfer), follows(accounts: Leg, partner: Reply), timers)]
    transfers: BothBanks,

    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: LedgerService,
}

/// Two banks with a stopped clock. Each application has a store of its own.
struct Banks {
    stores: Stores,
    clock: ManualClock,
    alice: Id<Account>,
    /// The account of Bob at the other bank.
    bob: Id<Account>,
}

impl Banks {
    async fn new() -> Self {
        let stores = Stores::shared(MemoryStore::new()).with("transfers", MemoryStore::new());
        let stores = stores.with("partner", MemoryStore::new());
        let clock = ManualClock::new();
        let alice = Id::named("Alice");
        let bob = Id::named("Bob");

        let banks = Self {
            stores,
            clock,
            alice,
            bob,
        };
        let both = banks.both().await;
        let opened = [
            AccountEvent::Opened {
                owner: "Alice".into(),
            },
            AccountEvent::Credited {
                amount: money("100"),
            },
        ];
        both.accounts
            .save(&mut eventsourcing::Root::with_id(alice, opened))
            .await
            .expect("an account");
        let opened = eventsourcing::Root::with_id(giro(bob), GiroEvent::Opened);
        both.partner.save(&mut { opened }).await.expect("a giro");
        banks
    }

    async fn both(&self) -> RunningSystem<TwoBanks> {
        let builder = TwoBanks::builder(self.stores.clone()).with_clock(self.clock.clone());
        builder
            .with_runner(Runner::inline())
            .start()
            .await
            .expect("both banks start")
    }

    async fn one_only(&self) -> RunningSystem<OneBankOnly> {
        let builder = OneBankOnly::builder(self.stores.clone()).with_clock(self.clock.clone());
        builder
            .with_runner(Runner::inline())
            .start()
            .await
            .expect("one bank starts")
    }

    fn order(&self, to: Id<Account>) -> Order {
        Order {
            from: self.alice,
            to,
            bank: Some("partner".into()),
            amount: money("30"),
        }
    }

    /// Returns the balances of Alice and of Bob, and the state of the transfer.
    async fn outcome(&self, transfer: Id<Transfer>) -> (Money, Money, State) {
        let both = self.both().await;
        both.wait_until_caught_up()
            .await
            .expect("everything comes to rest");
        let bob = both
            .partner
            .load(giro(self.bob))
            .await
            .expect("a giro")
            .balance;
        let state = both
            .transfers
            .load(transfer)
            .await
            .expect("a transfer")
            .state
            .clone();
        (balance(&both.accounts, self.alice).await, bob, state)
    }
}

#[tokio::test]
async fn a_transfer_to_another_bank_is_completed() {
    let banks = Banks::new().await;
    let both = banks.both().await;
    let transfer = both
        .transfers
        .request(banks.order(banks.bob))
        .await
        .expect("a request")
        .id;
    assert_eq!(
        banks.outcome(transfer).await,
        (money("70"), money("30"), State::Completed)
    );
    banks.clock.advance(2 * TIMEOUT);
    assert_eq!(
        banks.outcome(transfer).await,
        (money("70"), money("30"), State::Completed),
        "also when time goes on"
    );
}

#[tokio::test]
async fn a_transfer_that_another_bank_refuses_is_compensated() {
    let banks = Banks::new().await;
    let both = banks.both().await;
    let transfer = both
        .transfers
        .request(banks.order(Id::new()))
        .await
        .expect("a request")
        .id;
    let state = State::Compensated {
        reason: "no such giro".into(),
    };
    assert_eq!(banks.outcome(transfer).await, (money("100"), ZERO, state));
}

#[tokio::test]
async fn a_late_answer_after_the_compensation_moves_nothing() {
    let banks = Banks::new().await;
    let one = banks.one_only().await;
    let transfer = one
        .transfers
        .request(banks.order(banks.bob))
        .await
        .expect("a request")
        .id;
    banks.clock.advance(TIMEOUT - Duration::from_micros(1));
    one.wait_until_caught_up()
        .await
        .expect("everything comes to rest");
    let state = one
        .transfers
        .load(transfer)
        .await
        .expect("a transfer")
        .state
        .clone();
    assert_eq!(
        (balance(&one.accounts, banks.alice).await, state),
        (money("70"), State::Debited),
        "on its way"
    );
    banks.clock.advance(Duration::from_micros(1));
    one.wait_until_caught_up()
        .await
        .expect("everything comes to rest");
    assert_eq!(
        balance(&one.accounts, banks.alice).await,
        money("100"),
        "the money is back"
    );
    drop(one);
    let (alice, bob, state) = banks.outcome(transfer).await;
    assert!(
        matches!(state, State::Compensated { reason } if reason.contains("not answered in time"))
    );
    assert_eq!((alice, bob), (money("100"), ZERO));
    let replies = banks
        .both()
        .await
        .partner
        .ids::<Reply>(Position::ZERO, 10)
        .await
        .expect("ids")
        .ids
        .len();
    assert_eq!(replies, 1, "the other bank has agreed, too late");
}

#[tokio::test]
async fn an_answer_before_the_time_is_over_counts_however_late_it_is_heard() {
    let banks = Banks::new().await;
    let one = banks.one_only().await;
    let transfer = one
        .transfers
        .request(banks.order(banks.bob))
        .await
        .expect("a request")
        .id;
    drop(one);
    banks.clock.advance(TIMEOUT - Duration::from_secs(1));
    assert_eq!(
        banks.outcome(transfer).await,
        (money("70"), money("30"), State::Completed)
    );
}
