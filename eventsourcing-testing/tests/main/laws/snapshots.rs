//! Snapshots that drop a field.

use super::*;

/// A snapshot that drops what later events need.
mod forgetful_state {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Account {
        balance: i64,
        #[serde(skip)]
        rate: i64,
    }

    #[event]
    impl Account {
        fn opened() -> Self {
            Self {
                balance: 0,
                rate: 3,
            }
        }
        fn credited(&mut self, amount: u8) {
            self.balance += i64::from(amount) * self.rate;
        }
    }
}

/// A snapshot that drops what only decisions need.
mod forgetful_only_to_debug {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Account {
        balance: i64,
        #[serde(skip)]
        frozen: bool,
    }

    #[event]
    impl Account {
        fn opened() -> Self {
            Self {
                balance: 0,
                frozen: false,
            }
        }
        fn frozen(&mut self) {
            self.frozen = true;
        }
    }

    impl Account {
        pub(super) fn freeze(&self) -> Option<AccountEvent> {
            (!self.frozen && self.balance == 0).then_some(AccountEvent::Frozen)
        }
    }
}

#[test]
fn a_snapshot_that_drops_a_field_is_found() {
    let message = broken(|| {
        Laws::<forgetful_state::Account>::new().a_snapshot_and_the_events_after_it_are_all_events();
    });
    assert_says(
        &message,
        &[
            "Account breaks the law that a snapshot and the events after it are all events: a snapshot at version 1",
            "make {\"balance\":0}, and all events make {\"balance\":3}",
            "\n  1 Opened {}\n  2 Credited {\"amount\":1}\n",
            "no `skip`",
        ],
    );
}

#[test]
fn a_snapshot_that_drops_a_field_that_only_debug_shows_is_found() {
    use forgetful_only_to_debug::Account;
    let law = || Laws::<Account>::new().with_decision(Account::freeze);
    let message = broken(|| {
        law()
            .with_debug()
            .a_snapshot_and_the_events_after_it_are_all_events();
    });
    assert_says(
        &message,
        &[
            "make Account { balance: 0, frozen: false }, and all events make Account { balance: 0, frozen: true }",
        ],
    );
    assert_says(&message, &["\n  1 Opened {}\n  2 Frozen {}\n"]);
}
