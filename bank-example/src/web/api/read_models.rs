//! The results of the followers: the ledger and the activity feed. They may be a moment behind the accounts.

use axum::extract::State as Extract;
use eventsourcing::Id;
use eventsourcing::store::Position;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::amount::Amount;
use super::extract::{Json, Query, limit};
use super::problem::Problem;
use crate::application::activity::Activity as Line;
use crate::domain::ZERO;
use crate::domain::ledger::{GENERAL, Ledger as Aggregate};
use crate::web::State;

/// The balance of the bank, and the movements behind it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ledger {
    balance: Amount,
    /// The number of credits and debits in the ledger.
    transactions: u64,
    /// The sum of all accounts. It equals the balance when the ledger and the lists of accounts have both caught up.
    sum_of_accounts: Amount,
    agrees: bool,
}

/// Shows the ledger.
#[utoipa::path(get, path = "/ledger", tag = "read models",
    responses(
        (status = OK, body = Ledger),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn ledger(Extract(state): Extract<State>) -> Result<Json<Ledger>, Problem> {
    let ledger = state
        .bank
        .ledger
        .find(Id::<Aggregate>::named(GENERAL))
        .await?;
    let (balance, transactions) =
        ledger.map_or((ZERO, 0), |ledger| (ledger.balance, ledger.transactions));
    let sum = state.bank.summaries.totals().await?.balance;
    let agrees = balance == sum;
    let balance = Amount(balance);
    let sum_of_accounts = Amount(sum);

    Ok(Json(Ledger {
        balance,
        transactions,
        sum_of_accounts,
        agrees,
    }))
}

/// The part of the feed to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ActivityQuery {
    /// Only events before this position: `next` of the previous page.
    #[param(example = 1000)]
    before: Option<u64>,
    /// The largest number of lines; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// The events of all accounts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Feed {
    activity: Vec<Activity>,
    /// The position before which the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// An event of an account.
#[derive(Debug, Serialize, ToSchema)]
struct Activity {
    position: u64,
    account: Uuid,
    version: u64,
    #[schema(example = "Credited")]
    name: String,
    recorded_at: String,
    /// The owner, if the account was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// The amount, if money was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Amount>,
}

impl From<Line> for Activity {
    fn from(line: Line) -> Self {
        Self {
            position: line.position.as_u64(),
            account: line.account.as_uuid(),
            version: line.version.as_u64(),
            name: line.name,
            recorded_at: line.recorded_at.to_string(),
            owner: line.owner,
            amount: line.amount.map(Amount),
        }
    }
}

/// Lists the events of all accounts, newest first.
#[utoipa::path(get, path = "/activity", tag = "read models", params(ActivityQuery),
    responses(
        (status = OK, body = Feed),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn activity(
    Extract(state): Extract<State>,
    Query(query): Query<ActivityQuery>,
) -> Result<Json<Feed>, Problem> {
    let limit = limit(query.limit)?;
    let lines = state
        .bank
        .activity
        .before(query.before.map_or(Position::MAX, Position::new), limit)
        .await?;
    let next = lines
        .last()
        .filter(|_| lines.len() == limit)
        .map(|last| last.position.as_u64());
    Ok(Json(Feed {
        activity: lines.into_iter().map(Activity::from).collect(),
        next,
    }))
}
