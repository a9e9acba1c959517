//! [`ActivityFeed`]: a read model of the latest events of all accounts.

use derive_more::{Deref, From};
use eventsourcing::sql::{Row, SqlError};
use eventsourcing::store::{Position, Version};
use eventsourcing::{Id, ReadModel, RecordedEvent, SqlProjection, SqlReadModel, Table, Tx, values};
use jiff::Timestamp;

use super::{cents, money, rows_at_most};
use crate::domain::Money;
use crate::domain::account::{Account, AccountEvent};

/// The events of all accounts, newest first. Dereferences to its read model, for callers that wait for it.
#[derive(Debug, Deref, From)]
pub struct ActivityFeed(ReadModel);

/// One line of the feed: an event of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    pub position: Position,
    pub account: Id<Account>,
    pub version: Version,
    pub name: String,
    pub recorded_at: Timestamp,
    /// The owner, if the account was opened.
    pub owner: Option<String>,
    /// The amount, if money was moved.
    pub amount: Option<Money>,
}

impl SqlReadModel for ActivityFeed {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "activity",
        "position BIGINT PRIMARY KEY, account TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, \
         recorded_at TEXT NOT NULL, owner TEXT, amount BIGINT",
    )];
}

impl SqlProjection<Account> for ActivityFeed {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let (owner, amount) = match &event.payload {
            AccountEvent::Opened { owner } => (Some(owner), None),
            AccountEvent::Credited { amount } | AccountEvent::Debited { amount } => {
                (None, Some(cents(*amount)))
            }
        };
        let sql = "INSERT INTO {activity} (position, account, version, name, recorded_at, owner, amount) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let RecordedEvent {
            position,
            aggregate_id,
            version,
            recorded_at,
            ..
        } = *event;
        tx.execute(
            sql,
            &values![
                position,
                aggregate_id,
                version,
                event.name(),
                recorded_at,
                owner,
                amount
            ],
        )
        .await?;
        Ok(())
    }
}

impl ActivityFeed {
    /// The newest lines, newest first.
    pub async fn newest(&self, limit: usize) -> Result<Vec<Activity>, SqlError> {
        self.before(Position::MAX, limit).await
    }

    /// The newest lines before `position`, newest first: the next page.
    pub async fn before(
        &self,
        position: Position,
        limit: usize,
    ) -> Result<Vec<Activity>, SqlError> {
        let sql = "SELECT * FROM {activity} WHERE position < $1 ORDER BY position DESC LIMIT $2";
        let rows = self
            .query(sql, &values![position, rows_at_most(limit)])
            .await?;
        rows.iter().map(Activity::read).collect()
    }
}

impl Activity {
    fn read(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            position: row.get("position")?,
            account: row.get("account")?,
            version: row.get("version")?,
            name: row.get("name")?,
            recorded_at: row.get("recorded_at")?,
            owner: row.get("owner")?,
            amount: row.get::<Option<i64>>("amount")?.map(money),
        })
    }
}
