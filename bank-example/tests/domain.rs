//! The rules of the bank, as given, when, then.

use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::{Ledger, LedgerEvent};
use bank_example::domain::{BankError, Money};
use eventsourcing::Id;
use eventsourcing::testing::{PolicyScenario, Scenario};

use bank_example::application::ledger::LedgerService;

fn money(text: &str) -> Money {
    Money::from_str_exact(text).expect("an amount")
}

fn opened() -> AccountEvent {
    AccountEvent::Opened {
        owner: "Alice".into(),
    }
}

fn credited(amount: &str) -> AccountEvent {
    AccountEvent::Credited {
        amount: money(amount),
    }
}

fn debited(amount: &str) -> AccountEvent {
    AccountEvent::Debited {
        amount: money(amount),
    }
}

#[test]
fn an_account_is_opened_with_nothing_on_it() {
    Account::given_nothing()
        .when(|| Account::open("Alice"))
        .then(opened())
        .then_state(|account| assert_eq!(account.balance.to_string(), "0.00"));
}

#[test]
fn an_owner_needs_a_name_of_reasonable_length() {
    for name in [
        "",
        "\n",
        "tab\there",
        &"x".repeat(10_000),
        &"长".repeat(201),
    ] {
        Account::given_nothing()
            .when(|| Account::open(name))
            .then_rejected(BankError::InvalidOwner);
    }
    for name in ["A", "Zoë Ænima 🦀 长 العربية", &"长".repeat(200)] {
        let opened = AccountEvent::Opened { owner: name.into() };
        Account::given_nothing()
            .when(|| Account::open(name))
            .then(opened);
    }
}

#[test]
fn money_comes_and_goes() {
    Account::given([opened(), credited("20.00")])
        .when(|account| account.credit(money("5")))
        .then(credited("5.00"))
        .then_state(|account| assert_eq!(account.balance.to_string(), "25.00"));
    Account::given([opened(), credited("20.00")])
        .when(|account| account.debit(money("20")))
        .then(debited("20.00"))
        .then_state(|account| assert_eq!(account.balance.to_string(), "0.00"));
}

#[test]
fn an_overdraft_is_refused() {
    Account::given([opened(), credited("10.00")])
        .when(|account| account.debit(money("10.01")))
        .then_rejected(BankError::InsufficientFunds {
            balance: money("10"),
            amount: money("10.01"),
        });
}

#[test]
fn only_positive_amounts_of_whole_cents_and_reasonable_size_are_moved() {
    for amount in [
        "0",
        "-1",
        "0.001",
        "1.234",
        "1000000000000",
        "79228162514264337593543950335",
    ] {
        let refusal = || BankError::InvalidAmount(money(amount));
        Account::given(opened())
            .when(|account| account.credit(money(amount)))
            .then_rejected(refusal());
        Account::given(opened())
            .when(|account| account.debit(money(amount)))
            .then_rejected(refusal());
    }
    for amount in ["0.01", "1.230000", "999999999999.99"] {
        Account::given(opened())
            .when(|account| account.credit(money(amount)))
            .then(credited(amount));
    }
}

#[tokio::test]
async fn every_movement_reaches_the_ledger() {
    let alice = Id::<Account>::new();
    let general = Id::<Ledger>::named("General");

    let added = |amount| LedgerEvent::TransactionAdded {
        account: alice,
        amount: money(amount),
    };
    PolicyScenario::<LedgerService>::new()
        .when(alice, opened())
        .await
        .when(alice, credited("20.00"))
        .await
        .when(alice, debited("5.00"))
        .await
        .then(
            general,
            [LedgerEvent::Opened, added("20.00"), added("-5.00")],
        )
        .then_nothing_else();
}
