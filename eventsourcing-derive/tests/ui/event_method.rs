use eventsourcing_core::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[event]
impl Account {
    async fn opened() -> Self {
        Self { balance: 0 }
    }
    const fn founded() -> Self {
        Self { balance: 0 }
    }
    unsafe fn seized(&mut self) {}
    extern "C" fn exported(&mut self) {}
    fn converted<T>(&mut self) {}
    fn bounded<'a>(&'a mut self) {}
    fn summed(&mut self, _: ...) {}
    fn looked_at(&self) {}
    fn closed(self) {}
    fn emptied(mut self) {
        self.balance = 0;
    }
    fn boxed(self: Box<Self>) {}
    fn debited(&mut self, amount: i64) -> i64 {
        self.balance -= amount;
        self.balance
    }
    fn checked(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn merged(amount: i64) {
        let _ = amount;
    }
    fn tried(balance: i64) -> Option<Self> {
        Some(Self { balance })
    }
    #[cfg(test)]
    fn tested(&mut self) {}
    #[cfg_attr(test, inline)]
    fn inlined(&mut self) {}
    fn renamed_once(&mut self) {}
    fn renamed__once(&mut self) {}
    fn _1st(&mut self) {}
    fn self_(&mut self) {}
}

fn main() {
    let _: Id<Account> = Id::named("it is an aggregate nevertheless");
    let _ = AccountEvent::Debited { amount: 1 };
}
