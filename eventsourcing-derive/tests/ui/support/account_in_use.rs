//! What a program does with `Account` and its events, so that a mistake in one of them could show anywhere.

use std::convert::Infallible;

use eventsourcing_testing::Scenario;
use eventsourcing_core::{
    ApplicationError, Application, Event, Id, Policy, Projection, ReadModel, Receipt, RecordedEvent, CommandError, Root,
    SqlProjection, SqlReadModel, System, Table, Tx, UnitOfWork,
};

use super::{Account, AccountEvent};

pub struct Accounts {
    app: Application,
}

impl From<Application> for Accounts {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Accounts {
    pub async fn save(
        &self,
        first: AccountEvent,
        second: Option<AccountEvent>,
    ) -> Result<Id<Account>, ApplicationError> {
        let mut account = Root::<Account>::create(first);
        account.record(second);
        self.app.save(&mut account).await?;
        Ok(account.id())
    }

    pub async fn update(
        &self,
        id: Id<Account>,
        decide: fn(&Account) -> Result<AccountEvent, Infallible>,
    ) -> Result<Receipt, CommandError<Infallible>> {
        self.app.update(id, decide).await
    }

    pub async fn pending(&self, id: Id<Account>) -> Result<usize, ApplicationError> {
        let account: Root<Account> = self.app.load(id).await?;
        let _: &Account = &account;
        Ok(account.pending().len())
    }
}

pub fn follows(first: AccountEvent, second: AccountEvent) {
    let refused = Err::<AccountEvent, _>("refused");
    Account::given([first]).when(|_| refused).then_rejected("refused");
    Account::given_nothing().when(|| second).then_nothing();
}

fn once_more(event: &AccountEvent) -> AccountEvent {
    Event::duplicate(event)
}

impl Policy<Account> for Accounts {
    type Error = ApplicationError;

    async fn react(&self, event: &RecordedEvent<Account>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
        let recorded: &AccountEvent = &event.payload;
        work.load::<Account>(event.aggregate_id).await?.record(once_more(recorded));
        Ok(())
    }
}

#[derive(Default)]
pub struct Feed;

impl Projection<Account> for Feed {
    type Error = Infallible;

    async fn project(&self, event: &RecordedEvent<Account>) -> Result<(), Infallible> {
        let _ = format!("{:?}", event.payload);
        Ok(())
    }
}

pub struct Openings;

impl SqlReadModel for Openings {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[];
}

impl From<ReadModel> for Openings {
    fn from(_: ReadModel) -> Self {
        Self
    }
}

impl SqlProjection<Account> for Openings {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Account>, _: &mut Tx<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[application(follows(accounts: Account))]
    pub copies: Accounts,
    #[projection(follows(accounts: Account))]
    pub feed: Feed,
    #[projection(sql, follows(accounts: Account))]
    pub openings: Openings,
}
