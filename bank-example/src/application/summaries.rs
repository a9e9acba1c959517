//! [`AccountSummaries`]: a read model with one row for each account, to list and to search.

use derive_more::{Deref, From};
use eventsourcing::sql::{Row, SqlError};
use eventsourcing::store::{Position, Version};
use eventsourcing::{Id, ReadModel, RecordedEvent, SqlProjection, SqlReadModel, Table, Tx, values};
use jiff::Timestamp;

use super::{cents, money, rows_at_most};
use crate::domain::Money;
use crate::domain::account::{Account, AccountEvent};

/// One row for each account. Dereferences to its read model, for callers that wait for it.
#[derive(Debug, Deref, From)]
pub struct AccountSummaries(ReadModel);

/// One account in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountSummary {
    pub account: Id<Account>,
    pub owner: String,
    pub balance: Money,
    /// The version of the account's last event.
    pub version: Version,
    /// The number of credits and debits.
    pub movements: u64,
    pub last_movement: Option<Timestamp>,
    /// The position of the event that opened the account. The list is in this order.
    pub opened: Position,
}

/// The sums over all accounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub accounts: u64,
    pub balance: Money,
    /// The number of credits and debits.
    pub movements: u64,
}

/// A selection of accounts, in the order in which they were opened.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Only accounts whose owner's name contains this text, in upper or lower case. Empty: all accounts.
    pub owner: &'a str,
    /// Only accounts opened after this position: the last one of the previous page.
    pub after: Position,
    /// The largest number of accounts to return.
    pub limit: usize,
}

impl Listing<'_> {
    /// Every account.
    pub const ALL: Self = Self {
        owner: "",
        after: Position::ZERO,
        limit: usize::MAX,
    };
}

impl SqlReadModel for AccountSummaries {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "account_summaries",
        "account TEXT PRIMARY KEY, owner TEXT NOT NULL, owner_in_lower_case TEXT NOT NULL, balance BIGINT NOT NULL, \
         version BIGINT NOT NULL, movements BIGINT NOT NULL, last_movement TEXT, opened BIGINT NOT NULL",
    )
    .with_indexes(&["opened"])];
}

impl SqlProjection<Account> for AccountSummaries {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let change = match &event.payload {
            AccountEvent::Opened { owner } => {
                let sql = "INSERT INTO {account_summaries} \
                           (account, owner, owner_in_lower_case, balance, version, movements, last_movement, opened) \
                           VALUES ($1, $2, $3, 0, $4, 0, NULL, $5)";
                let row = values![
                    event.aggregate_id,
                    owner,
                    owner.to_lowercase(),
                    event.version,
                    event.position
                ];
                return tx.execute(sql, &row).await.map(drop);
            }
            AccountEvent::Credited { amount } => cents(*amount),
            AccountEvent::Debited { amount } => -cents(*amount),
        };
        let sql = "UPDATE {account_summaries} \
                   SET balance = balance + $2, version = $3, movements = movements + 1, last_movement = $4 \
                   WHERE account = $1";
        tx.execute(
            sql,
            &values![event.aggregate_id, change, event.version, event.recorded_at],
        )
        .await
        .map(drop)
    }
}

impl AccountSummaries {
    /// Returns a page of the list.
    pub async fn list(&self, listing: Listing<'_>) -> Result<Vec<AccountSummary>, SqlError> {
        let sql = "SELECT * FROM {account_summaries} \
                   WHERE opened > $1 AND owner_in_lower_case LIKE $2 ESCAPE '!' ORDER BY opened LIMIT $3";
        let values = values![
            listing.after,
            containing(&listing.owner.to_lowercase()),
            rows_at_most(listing.limit)
        ];
        self.query(sql, &values)
            .await?
            .iter()
            .map(AccountSummary::read)
            .collect()
    }

    /// Returns the row of one account, if there is one yet.
    pub async fn find(&self, account: Id<Account>) -> Result<Option<AccountSummary>, SqlError> {
        let rows = self
            .query(
                "SELECT * FROM {account_summaries} WHERE account = $1",
                &values![account],
            )
            .await?;
        rows.first().map(AccountSummary::read).transpose()
    }

    /// Returns the sums over all accounts, all as of the same moment.
    pub async fn totals(&self) -> Result<Totals, SqlError> {
        let sql = "SELECT COUNT(*) AS accounts, CAST(COALESCE(SUM(balance), 0) AS BIGINT) AS balance, \
                   CAST(COALESCE(SUM(movements), 0) AS BIGINT) AS movements FROM {account_summaries}";
        let rows = self.query(sql, &[]).await?;
        let row = rows.first().expect("sums are one row");
        Ok(Totals {
            accounts: row.get("accounts")?,
            balance: money(row.get("balance")?),
            movements: row.get("movements")?,
        })
    }
}

/// Returns the LIKE pattern of texts that contain `part`.
fn containing(part: &str) -> String {
    let escaped: String = part
        .chars()
        .flat_map(|c| "!%_".contains(c).then_some('!').into_iter().chain([c]))
        .collect();
    format!("%{escaped}%")
}

impl AccountSummary {
    fn read(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            account: row.get("account")?,
            owner: row.get("owner")?,
            balance: money(row.get("balance")?),
            version: row.get("version")?,
            movements: row.get("movements")?,
            last_movement: row.get("last_movement")?,
            opened: row.get("opened")?,
        })
    }
}
