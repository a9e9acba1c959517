/// A bank account.
#[derive(Aggregate)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    owner: String,
    balance: Money,
}

/// The events of an account.
#[event(split(name = "Moved", with = moved), retired("Frozen"))]
impl Account {
    /// A customer opened the account.
    fn opened(owner: String) -> Self {
        Self { owner, balance: Money::ZERO }
    }
    fn credited(&mut self, amount: Money, #[serde(default)] note: Option<String>) {
        self.balance += amount;
    }
    #[event(
        name = "Closed",
        former_names("Shut"),
        version = 3,
        upcast(from = 2, with = closed::from_2),
        upcast(from = 1, with = closed::from_1)
    )]
    fn closed_for_good(&mut self) {}
}
