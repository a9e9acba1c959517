use std::borrow::Cow;

use eventsourcing_core::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct Account {
    owner: String,
}

#[event]
impl Account {
    fn opened(owner: &str) -> Self {
        Self { owner: owner.into() }
    }
    fn tagged(&mut self, tags: &[u32]) {
        let _ = tags;
    }
    fn compared(&mut self, with: &Account) {
        let _ = with;
    }
    fn listed(&mut self, names: Vec<&'static str>) {
        let _ = names;
    }
    fn called(&mut self, name: Cow<'_, str>) {
        let _ = name;
    }
    fn converted(&mut self, owner: impl Into<String>) {
        self.owner = owner.into();
    }
    fn paired(&mut self, (first, second): (u32, u32)) {
        let _ = first + second;
    }
    fn ignored(&mut self, _: u32) {}
    fn bound(&mut self, all @ (_, _): (u32, u32)) {
        let _ = all;
    }
    fn changed(&mut self, mut amount: u32) {
        amount += 1;
        let _ = amount;
    }
    fn doubled(&mut self, amount: u32, _amount: u32) {}
    fn conditional(&mut self, #[cfg(test)] amount: u32) {}
}

fn main() {
    let _: Id<Account> = Id::named("it is an aggregate nevertheless");
    let _ = AccountEvent::Opened { owner: "Alice".into() };
}
