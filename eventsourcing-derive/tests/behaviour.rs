use eventsourcing_core::{Aggregate, Event, Fold, Misplaced, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    owner: String,
    balance: i64,
}

/// What has happened to an account.
#[event]
impl Account {
    /// It was opened.
    fn opened(owner: String) -> Self {
        Self { owner, balance: 0 }
    }
    fn credited(&mut self, amount: i64) {
        self.balance += amount;
    }
    #[event(name = "Closed", version = 2)]
    fn closed_for_good(&mut self) {}
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DoorEvent {
    Opened,
    #[event(name = "Shut", version = 3)]
    Closed {
        by: String,
    },
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
pub struct Pinged {
    pub at: u64,
}

#[test]
fn happy() {
    let mut a = <Account as Fold<AccountEvent>>::create(AccountEvent::Opened { owner: "A".into() }).unwrap();
    a.apply(AccountEvent::Credited { amount: 5 }).unwrap();
    assert_eq!(a.apply(AccountEvent::Opened { owner: "A".into() }), Err(Misplaced));
    a.apply(AccountEvent::ClosedForGood).unwrap();
    assert_eq!(a, Account { owner: "A".into(), balance: 5 });
    assert_eq!(Account::NAME, "Account");
    let names: Vec<_> = AccountEvent::TYPES.iter().map(|t| (t.name, t.version)).collect();
    assert_eq!(names, [("Opened", 1), ("Credited", 1), ("Closed", 2)]);
    let names: Vec<_> = DoorEvent::TYPES.iter().map(|t| (t.name, t.version)).collect();
    assert_eq!(names, [("Opened", 1), ("Shut", 3)]);
    assert_eq!(Pinged::TYPES[0].name, "Pinged");
    println!("{:?}", <Account as Aggregate>::FINGERPRINT);
}
