//! The flaws that a database may have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::sql::{Database, Row, SqlError, TRANSACTION_IDLE_MAX, Transaction, Value};
use eventsourcing_core::store::{Position, StoreError, Tracking};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::flawed_database::{Dropped, Flaw};

pub(crate) struct CommitsEachStatement;

impl Flaw for CommitsEachStatement {
    const COMMITS_EACH_OPERATION: bool = true;
}

pub(crate) struct CommitsWhatIsDropped;

impl Flaw for CommitsWhatIsDropped {
    const WHEN_DROPPED: Dropped = Dropped::Committed;
}

pub(crate) struct NeverEndsWhatIsDropped;

impl Flaw for NeverEndsWhatIsDropped {
    const TIMEOUT: Duration = Duration::from_secs(5);
    const WHEN_DROPPED: Dropped = Dropped::LeftOpen;
}

/// Continues after a refusal, as SQLite itself does.
pub(crate) struct ForgetsRefusals;

impl Flaw for ForgetsRefusals {
    const FORGETS_REFUSALS: bool = true;
}

pub(crate) struct CommitsNothing;

#[async_trait]
impl Flaw for CommitsNothing {
    async fn commit(_: Box<dyn Transaction>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Reports every transaction as committed.
pub(crate) struct HidesThatItWasUndone;

#[async_trait]
impl Flaw for HidesThatItWasUndone {
    async fn commit(transaction: Box<dyn Transaction>) -> Result<(), StoreError> {
        let _hidden = transaction.commit().await;
        Ok(())
    }
}

/// A database whose steps are changed before they are made.
macro_rules! changes_steps {
    ($($(#[$doc:meta])* $flaw:ident = |$step:ident| $change:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn step(transaction: &mut dyn Transaction, mut $step: Tracking) -> Result<(), StoreError> {
                $change;
                transaction.step(&$step).await
            }
        }
    )*};
}

changes_steps! {
    IgnoresEpochs = |step| step.epoch = None;
    /// Makes a step that was not requested.
    ForgetsSteps = |step| step = Tracking::new("nobody", step.upstream, Position::ZERO, Position::ZERO);
    IgnoresLeases = |step| step.lease = None;
    IgnoresRevisions = |step| step.revision = None;
}

pub(crate) struct StepsFromAnywhere;

#[async_trait]
impl Flaw for StepsFromAnywhere {
    async fn step(transaction: &mut dyn Transaction, step: Tracking) -> Result<(), StoreError> {
        match transaction.step(&step).await {
            Err(StoreError::TrackingConflict { actual, .. }) => {
                let from = actual;
                let to = step.to.max(actual);

                transaction
                    .step(&Tracking {
                        from,
                        to,
                        revision: None,
                        ..step
                    })
                    .await
            }
            outcome => outcome,
        }
    }
}

/// Behaves as if another transaction kept it busy.
pub(crate) struct KeepsIdleTransactions;

struct Busy(Arc<Mutex<Option<Box<dyn Transaction>>>>);

#[async_trait]
impl Flaw for KeepsIdleTransactions {
    const TIMEOUT: Duration = TRANSACTION_IDLE_MAX.saturating_add(Duration::from_secs(5));

    async fn begin(database: &dyn Database) -> Result<Box<dyn Transaction>, StoreError> {
        let transaction = Arc::new(Mutex::new(Some(database.begin().await?)));
        let kept_busy = Arc::downgrade(&transaction);
        tokio::spawn(async move {
            while let Some(transaction) = kept_busy.upgrade() {
                if let Some(transaction) = transaction.lock().await.as_mut() {
                    let _rows = transaction.query("SELECT 1", &[]).await;
                }
                drop(transaction);
                sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Box::new(Busy(transaction)))
    }
}

/// Runs operations whose futures are dropped, and commits them as if they had been awaited.
pub(crate) struct CommitsWhatNobodyWaitedFor;

struct Detached(Arc<Mutex<Option<Box<dyn Transaction>>>>);

#[async_trait]
impl Flaw for CommitsWhatNobodyWaitedFor {
    async fn begin(database: &dyn Database) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Detached(Arc::new(Mutex::new(Some(
            database.begin().await?,
        ))))))
    }
}

#[async_trait]
impl Transaction for Detached {
    async fn step(&mut self, step: &Tracking) -> Result<(), StoreError> {
        let mut transaction = Arc::clone(&self.0).lock_owned().await;
        let step = step.clone();
        let made = tokio::spawn(async move { transaction.as_mut().expect(OPEN).step(&step).await });
        made.await.expect("no panic")
    }

    async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        let mut transaction = Arc::clone(&self.0).lock_owned().await;
        let order = (sql.to_owned(), values.to_vec());
        let executed = tokio::spawn(async move {
            transaction
                .as_mut()
                .expect(OPEN)
                .execute(&order.0, &order.1)
                .await
        });
        executed.await.expect("no panic")
    }

    async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let mut transaction = Arc::clone(&self.0).lock_owned().await;
        let order = (sql.to_owned(), values.to_vec());
        let rows = tokio::spawn(async move {
            transaction
                .as_mut()
                .expect(OPEN)
                .query(&order.0, &order.1)
                .await
        });
        rows.await.expect("no panic")
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let transaction = self.0.lock().await.take();
        transaction.expect(OPEN).commit().await
    }
}

const OPEN: &str = "it is there until it is committed";

#[async_trait]
impl Transaction for Busy {
    async fn step(&mut self, step: &Tracking) -> Result<(), StoreError> {
        self.0.lock().await.as_mut().expect(OPEN).step(step).await
    }

    async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        self.0
            .lock()
            .await
            .as_mut()
            .expect(OPEN)
            .execute(sql, values)
            .await
    }

    async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.0
            .lock()
            .await
            .as_mut()
            .expect(OPEN)
            .query(sql, values)
            .await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let transaction = self.0.lock().await.take();
        transaction.expect(OPEN).commit().await
    }
}

/// A database that changes the values of statements.
macro_rules! changes_values {
    ($($(#[$doc:meta])* $flaw:ident = |$value:ident| $change:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn execute(transaction: &mut dyn Transaction, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
                let values: Vec<_> = values.iter().cloned().map(|$value| $change).collect();
                transaction.execute(sql, &values).await
            }
        }
    )*};
}

changes_values! {
    /// Rounds numbers as JavaScript does.
    RoundsNumbers = |value| match value {
        Value::Integer(number) => Value::Integer(number as f64 as i64),
        other => other,
    };
    TrimsTexts = |value| match value {
        Value::Text(text) => Value::Text(text.trim().to_owned()),
        other => other,
    };
    ReadsBytesAsText = |value| match value {
        Value::Blob(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
        other => other,
    };
    WritesZeroForNothing = |value| match value {
        Value::Null => Value::Integer(0),
        other => other,
    };
}

pub(crate) struct TakesParametersInTheOrderTheyOccur;

#[async_trait]
impl Flaw for TakesParametersInTheOrderTheyOccur {
    async fn execute(
        transaction: &mut dyn Transaction,
        sql: &str,
        values: &[Value],
    ) -> Result<u64, SqlError> {
        let mut parts = sql.split('$');
        let mut in_order = parts.next().unwrap_or_default().to_owned();
        let mut count = 0;
        for part in parts {
            count += 1;
            in_order += &format!(
                "${count}{}",
                part.trim_start_matches(|digit: char| digit.is_ascii_digit())
            );
        }
        let mut values = values.to_vec();
        values.resize(count, Value::Null);
        transaction.execute(&in_order, &values).await
    }
}

pub(crate) struct AlwaysCountsOne;

#[async_trait]
impl Flaw for AlwaysCountsOne {
    async fn execute(
        transaction: &mut dyn Transaction,
        sql: &str,
        values: &[Value],
    ) -> Result<u64, SqlError> {
        transaction.execute(sql, values).await.map(|_| 1)
    }
}

/// Reports a faulty statement as if waiting could fix it.
pub(crate) struct BlamesTheStore;

#[async_trait]
impl Flaw for BlamesTheStore {
    async fn execute(
        transaction: &mut dyn Transaction,
        sql: &str,
        values: &[Value],
    ) -> Result<u64, SqlError> {
        let outcome = transaction.execute(sql, values).await;
        outcome.map_err(|error| {
            SqlError::Store(StoreError::unavailable("something went wrong", error))
        })
    }
}

pub(crate) struct WritesInQueries;

#[async_trait]
impl Flaw for WritesInQueries {
    async fn query(
        database: &dyn Database,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, SqlError> {
        let mut transaction = database.begin().await?;
        let rows = transaction.query(sql, values).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}
