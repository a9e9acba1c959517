//! [`AccountService`]: opens accounts and moves money.

use derive_more::{Deref, From};
use eventsourcing::{Application, CommandError, Created, Id, Receipt};

use crate::domain::{BankError, Money, account::Account};

/// Opens accounts and moves money. Dereferences to its application, for everything that only reads.
#[derive(Debug, Deref, From)]
pub struct AccountService(Application);

/// The receipt of a movement, or the reason for which nothing was recorded.
type Movement = Result<Receipt, CommandError<BankError>>;

impl AccountService {
    pub async fn open(&self, owner: &str) -> Result<Created<Account>, CommandError<BankError>> {
        self.create(|| Account::open(owner)).await
    }
    pub async fn credit(&self, id: Id<Account>, amount: Money) -> Movement {
        self.update(id, |account| account.credit(amount)).await
    }
    pub async fn debit(&self, id: Id<Account>, amount: Money) -> Movement {
        self.update(id, |account| account.debit(amount)).await
    }
    /// Moves money from one account to another, in one append: both accounts change, or none.
    pub async fn transfer(&self, from: Id<Account>, to: Id<Account>, amount: Money) -> Movement {
        if from == to {
            return Err(CommandError::Rejected(BankError::SameAccount));
        }
        self.update_all((from, to), |(from, to)| {
            from.execute(|account| account.debit(amount))?;
            to.execute(|account| account.credit(amount))
        })
        .await
    }
}
