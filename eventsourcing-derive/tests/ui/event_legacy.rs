use eventsourcing_core::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[event(
    split(name = "Moved", with = split, by = 1),
    split(with = split),
    split(name = "Moved"),
    split(name = "Shared", with = split),
    split(name = "Shared", with = split),
    split(name = "Merged", version = 3, with = split),
    split(name = "Merged", version = 1, with = split),
    split(name = "", with = split),
    split(name = "Opened", with = split),
    split = "Moved",
    retired("Frozen", "Frozen", "Paid"),
    retired("Thawed")
)]
impl Account {
    fn opened() -> Self {
        Self { balance: 0 }
    }
    #[event(version = 2)]
    fn credited(&mut self, amount: i64) {
        self.balance += amount;
    }
    #[event(version = 5, upcast(from = 2, with = json))]
    fn debited(&mut self, amount: i64) {
        self.balance -= amount;
    }
    #[event(version = 3, upcast(from = 1, with = json), upcast(from = 2, with = json), upcast(from = 1, with = json))]
    fn closed(&mut self) {}
    #[event(version = 2, upcast(from = 1, with = json), upcast(from = 2, with = json))]
    fn reopened(&mut self) {}
    #[event(upcast(from = 1, with = json))]
    fn audited(&mut self) {}
    #[event(version = 2, upcast(with = json))]
    fn signed(&mut self) {}
    #[event(version = 2, upcast(from = 1))]
    fn stamped(&mut self) {}
    #[event(version = 2, upcast(form = 1, with = json))]
    fn sealed(&mut self) {}
    #[event(version = 2, upcast = json)]
    fn mailed(&mut self) {}
    #[event(version = 2, upcast(from = 0, with = json))]
    fn filed(&mut self) {}
    #[event(version = 2, upcast(from = 1, with = "json"))]
    fn found(&mut self) {}
    #[event(former_names = "Paid")]
    fn paid_in(&mut self) {}
    #[event(former_names("Paid", "Paid"))]
    fn paid(&mut self) {}
    #[event(former_names(""))]
    fn named(&mut self) {}
}

fn json(old: Value) -> Value {
    old
}

fn split(_: Value) -> Vec<AccountEvent> {
    Vec::new()
}

fn main() {
    let _: Id<Account> = Id::named("it is an aggregate nevertheless");
    let _ = AccountEvent::Debited { amount: 1 };
    let _ = (json, split);
}
