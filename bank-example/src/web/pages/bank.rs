//! The bank page: the ledger, the accounts, the forms, and the latest events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Query, State as Extract};
use axum::response::Response;
use axum::routing::get;
use eventsourcing::Id;
use eventsourcing::store::Position;
use serde::Deserialize;

use super::forms::Forms;
use super::{Failure, Frame, InSession, page, shown};
use crate::application::activity::Activity;
use crate::application::summaries::{AccountSummary, Listing};
use crate::domain::ZERO;
use crate::domain::account::Account;
use crate::domain::ledger::{GENERAL, Ledger};
use crate::web::State;
use crate::web::security::Session;

/// The number of accounts on a page.
const ACCOUNTS_PER_PAGE: usize = 20;
/// The number of events in the activity feed of the page.
const LINES: usize = 15;

pub(super) fn router() -> Router<State> {
    Router::new().route("/", get(bank))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    owner: String,
    after: String,
    done: String,
}

#[derive(Template)]
#[template(path = "bank.html")]
struct BankPage {
    frame: Frame,
    done: Option<&'static str>,
    ledger: LedgerShown,
    owner: String,
    is_first_page: bool,
    next_page: Option<Position>,
    accounts: Vec<AccountShown>,
    forms: Forms,
    activity: Vec<Line>,
}

/// The ledger, compared with the sum of the accounts.
struct LedgerShown {
    balance: String,
    transactions: u64,
    accounts: u64,
    /// `agrees`, `behind` or `differs`.
    check: &'static str,
    check_text: String,
}

struct AccountShown {
    id: Id<Account>,
    short: String,
    owner: String,
    balance: String,
    movements: u64,
}

struct Line {
    position: Position,
    account: Id<Account>,
    owner: String,
    /// `Opened`, `Credited`, `Debited`.
    name: String,
    amount: Option<String>,
    at: String,
    datetime: String,
}

async fn bank(
    Extract(state): Extract<State>,
    Extension(session): InSession,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    show(
        &state,
        &asked,
        Frame::new("bank", &state, session),
        Forms::empty(None),
    )
    .await
}

/// Shows the page with forms as they were filled in.
pub(super) async fn with_forms(
    state: &State,
    session: Session,
    forms: Forms,
) -> Result<Response, Failure> {
    let frame = Frame::new("bank", state, session).at(Some("/".to_owned()));
    show(state, &Asked::default(), frame, forms).await
}

async fn show(
    state: &State,
    asked: &Asked,
    frame: Frame,
    forms: Forms,
) -> Result<Response, Failure> {
    let owner = shown::typed(&asked.owner);
    let after = Position::new(asked.after.parse().unwrap_or(0));
    let listing = Listing {
        owner: &owner,
        after,
        limit: ACCOUNTS_PER_PAGE + 1,
    };
    let mut accounts = state.bank.summaries.list(listing).await?;
    let is_more = accounts.len() > ACCOUNTS_PER_PAGE;
    accounts.truncate(ACCOUNTS_PER_PAGE);
    let next_page = accounts.last().filter(|_| is_more).map(|last| last.opened);
    page(&BankPage {
        frame,
        done: done(&asked.done),
        ledger: ledger(state).await?,
        is_first_page: after == Position::ZERO,
        next_page,
        accounts: accounts.into_iter().map(AccountShown::new).collect(),
        owner,
        forms,
        activity: activity(state).await?,
    })
}

/// Returns the message that is shown after a form was carried out.
pub(super) fn done(done: &str) -> Option<&'static str> {
    match done {
        "opened" => Some("The account is open."),
        "credited" => Some("The money is on the account."),
        "debited" => Some("The money has left the account."),
        "transferred" => Some("The money has moved."),
        _ => None,
    }
}

async fn ledger(state: &State) -> Result<LedgerShown, Failure> {
    let ledger = state.bank.ledger.find(Id::<Ledger>::named(GENERAL)).await?;
    let (balance, transactions) =
        ledger.map_or((ZERO, 0), |ledger| (ledger.balance, ledger.transactions));
    let totals = state.bank.summaries.totals().await?;
    let (check, check_text) = if (balance, transactions) == (totals.balance, totals.movements) {
        ("agrees", "equal to the sum of all accounts".to_owned())
    } else if transactions != totals.movements {
        let apart = transactions.abs_diff(totals.movements);
        (
            "behind",
            format!("differs from the accounts by {apart} movements, catching up"),
        )
    } else {
        (
            "differs",
            format!(
                "the sum of the accounts is {}",
                shown::money(totals.balance)
            ),
        )
    };
    Ok(LedgerShown {
        balance: shown::money(balance),
        transactions,
        accounts: totals.accounts,
        check,
        check_text,
    })
}

async fn activity(state: &State) -> Result<Vec<Line>, Failure> {
    let lines = state.bank.activity.newest(LINES).await?;
    let mut owners = HashMap::new();
    for line in &lines {
        if let Entry::Vacant(vacant) = owners.entry(line.account) {
            let summary = state.bank.summaries.find(line.account).await?;
            vacant.insert(summary.map(|summary| summary.owner).unwrap_or_default());
        }
    }
    Ok(lines
        .into_iter()
        .map(|line| Line::new(&line, owners[&line.account].clone()))
        .collect())
}

impl AccountShown {
    fn new(summary: AccountSummary) -> Self {
        let AccountSummary {
            account,
            owner,
            balance,
            movements,
            ..
        } = summary;
        Self {
            id: account,
            short: shown::short(account.as_uuid()),
            owner,
            balance: shown::money(balance),
            movements,
        }
    }
}

impl Line {
    fn new(line: &Activity, owner: String) -> Self {
        Self {
            position: line.position,
            account: line.account,
            owner,
            name: line.name.clone(),
            amount: line.amount.map(shown::money),
            at: shown::time(line.recorded_at),
            datetime: line.recorded_at.to_string(),
        }
    }
}
