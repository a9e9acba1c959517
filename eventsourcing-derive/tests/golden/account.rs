/// A bank account.
#[derive(Aggregate)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    owner: String,
    balance: Money,
}

/// What has happened to an account.
#[event]
impl Account {
    /// Somebody became a customer.
    fn opened(owner: String) -> Self {
        Self { owner, balance: Money::ZERO }
    }
    fn credited(&mut self, amount: Money, #[serde(default)] note: Option<String>) {
        self.balance += amount;
    }
    #[event(name = "Closed", version = 2)]
    fn closed_for_good(&mut self) {}
}
