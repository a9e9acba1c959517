#[event(schema)]
impl Account {
    fn opened(owner: String) -> Self {
        Self { owner }
    }
    #[serde(rename_all = "camelCase")]
    fn credited(
        &mut self,
        /// In cents.
        cents: Money,
        #[serde(default)] other_note: Option<String>,
        #[serde(with = "hex")]
        #[schemars(with = "String")]
        key: u64,
        #[serde(skip)] cached: Cache,
    ) {
        self.cents += cents;
    }
}

#[event(schema)]
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum DoorEvent {
    Opened,
    Closed {
        closed_by: String,
    },
    Moved(u32, Box<Self>),
}

#[event(schema)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinged {
    at: u64,
}

#[derive(System)]
#[system(schema)]
pub struct Bank {
    #[application(aggregates(Account, domain::Door))]
    accounts: Accounts,
}
