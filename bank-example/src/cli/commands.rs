//! Carries out the commands of the bank and shows their results.

use std::sync::Arc;
use std::time::Duration;

use bank_example::application::summaries::Listing;
use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::domain::ledger::{GENERAL, Ledger};
use bank_example::domain::transfer::Order;
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{LogQuery, Position, StoredEvent};
use eventsourcing::{ApplicationError, Created, Id, Receipt, Root, RunningSystem};
use serde_json::json;

use super::args::BankCommand;
use super::demo;
use super::failure::Failure;
use super::keyed::{self, Key};
use super::output::{self, Output, cents};
use super::parked::ParkedCommand;
use super::stop::Stop;
use super::{parked, rebuild, restored, transfers, verify};

type Bank = RunningSystem<EventSourcedBank>;

/// The number of events or ids that are read at once.
const PAGE: usize = 1_000;
/// The time that followers get to catch up before their state is shown.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(5);
/// The time that the ledger gets to process a movement, and a transfer in steps to end.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

impl BankCommand {
    /// Returns `true` if the command makes a store where there is none. A movement takes an account, which a new store
    /// cannot have; so only the commands that begin a bank do.
    pub(crate) fn creates(&self) -> bool {
        matches!(self, Self::Demo | Self::Open { .. })
    }

    /// Returns `true` if the command records something when it is carried out.
    pub(crate) fn records(&self) -> bool {
        match self {
            Self::Demo
            | Self::Open { .. }
            | Self::Credit { .. }
            | Self::Debit { .. }
            | Self::Rebuild { .. } => true,
            Self::Transfer { .. } | Self::AcceptRestored { .. } => true,
            Self::Parked { what } => what.as_ref().is_some_and(ParkedCommand::records),
            Self::Transfers { .. }
            | Self::Accounts { .. }
            | Self::Account { .. }
            | Self::History { .. } => false,
            Self::Ledger
            | Self::Followers
            | Self::Verify { .. }
            | Self::Log { .. }
            | Self::Activity { .. } => false,
        }
    }

    /// The idempotency key of the command, if it has one.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Open { once, .. }
            | Self::Credit { once, .. }
            | Self::Debit { once, .. }
            | Self::Transfer { once, .. } => once.key.as_ref(),
            _ => None,
        }
    }

    pub(crate) async fn run(self, bank: &Arc<Bank>, stop: &Stop) -> Result<Output, Failure> {
        match self {
            Self::Demo => demo::run(bank, stop).await,
            Self::Open { owner, once } => open(bank, stop, &owner, once.key).await,
            Self::Credit { id, amount, once } => match once.key {
                Some(key) => keyed::credit(bank, &key, id, amount).await,
                None => {
                    let receipt = bank.accounts.credit(id, amount).await?;
                    let done = format!("credited {}", cents(amount));
                    report_movement(bank, stop, receipt, &[id], &done).await
                }
            },
            Self::Debit { id, amount, once } => match once.key {
                Some(key) => keyed::debit(bank, &key, id, amount).await,
                None => {
                    let receipt = bank.accounts.debit(id, amount).await?;
                    let done = format!("debited {}", cents(amount));
                    report_movement(bank, stop, receipt, &[id], &done).await
                }
            },
            Self::Transfer {
                from,
                to,
                amount,
                in_steps: false,
                once,
            } => transfer(bank, stop, [from, to], amount, once.key).await,
            Self::Transfer {
                from,
                to,
                amount,
                in_steps: true,
                once,
            } => transfer_in_steps(bank, stop, [from, to], amount, once.key).await,
            Self::Transfers { id: Some(id) } => Ok(transfers::one(&bank.transfers.load(id).await?)),
            Self::Transfers { id: None } => transfers::all(bank).await,
            Self::Accounts {
                owner,
                after,
                limit,
            } => {
                let listing = Listing {
                    owner: &owner,
                    after,
                    limit: limit.unwrap_or(usize::MAX),
                };
                accounts(bank, listing).await
            }
            Self::Account { id, at: None } => Ok(output::account(&bank.accounts.load(id).await?)),
            Self::Account {
                id,
                at: Some(version),
            } => Ok(output::account(&bank.accounts.load_at(id, version).await?)),
            Self::History { id } => {
                bank.accounts.load(id).await?;
                Ok(output::history(&bank.accounts.history(id).await?))
            }
            Self::Ledger => {
                let late = catch_up(bank).await?;
                Ok(output::ledger(ledger(bank).await?.as_deref())
                    .note(late)
                    .note(parked::warning(bank).await?))
            }
            Self::Parked { what } => {
                wait_for_a_moment(bank).await;
                what.unwrap_or(ParkedCommand::List).run(bank).await
            }
            Self::Followers => {
                wait_for_a_moment(bank).await;
                Ok(output::followers(&bank.health().await?))
            }
            Self::Verify { contents } => {
                wait_for_a_moment(bank).await;
                verify::run(bank, contents).await
            }
            Self::Rebuild { name } => rebuild::run(bank, &name, stop).await,
            Self::AcceptRestored { follower, kept } => {
                restored::accept(bank, &follower, kept).await
            }
            Self::Log { after, limit } => {
                let limit = limit.unwrap_or(usize::MAX);
                Ok(output::log(&log(bank, after, limit).await?)?)
            }
            Self::Activity { limit } => {
                let late = catch_up(bank).await?;
                let newest = bank.activity.newest(limit.unwrap_or(usize::MAX)).await?;
                let output = output::activity(&newest);
                Ok(output.note(late).note(parked::warning(bank).await?))
            }
        }
    }
}

async fn open(
    bank: &Arc<Bank>,
    stop: &Stop,
    owner: &str,
    key: Option<Key>,
) -> Result<Output, Failure> {
    if let Some(key) = key {
        return keyed::open(bank, &key, owner).await;
    }
    let Created { id, receipt } = bank.accounts.open(owner).await?;
    let in_summaries = stop
        .or(
            bank.wait_for(&receipt, EventSourcedBank::SUMMARIES, TIMEOUT),
            "",
        )
        .await;
    let output = Output::new(id.to_string(), json!({ "id": id }));
    // The account is open even if the read model does not show it: an error here would invite a second attempt.
    Ok(match in_summaries {
        Ok(in_summaries) => output.warn(in_summaries),
        Err(_) => output.note(Some("interrupted before the accounts showed it".to_owned())),
    })
}

async fn transfer(
    bank: &Arc<Bank>,
    stop: &Stop,
    [from, to]: [Id<Account>; 2],
    amount: Money,
    key: Option<Key>,
) -> Result<Output, Failure> {
    if let Some(key) = key {
        return keyed::transfer(bank, &key, [from, to], amount).await;
    }
    let receipt = bank.accounts.transfer(from, to, amount).await?;
    let done = format!("transferred {}", cents(amount));
    report_movement(bank, stop, receipt, &[from, to], &done).await
}

async fn transfer_in_steps(
    bank: &Arc<Bank>,
    stop: &Stop,
    [from, to]: [Id<Account>; 2],
    amount: Money,
    key: Option<Key>,
) -> Result<Output, Failure> {
    if let Some(key) = key {
        return keyed::transfer_in_steps(bank, &key, [from, to], amount, stop).await;
    }
    let order = Order {
        from,
        to,
        bank: None,
        amount,
    };
    transfers::ended(&transfers::run(bank, order, stop).await?)
}

async fn accounts(bank: &Bank, listing: Listing<'_>) -> Result<Output, Failure> {
    let is_search = !listing.owner.is_empty();
    let late = catch_up(bank).await?;
    let output = output::summaries(&bank.summaries.list(listing).await?, is_search);
    Ok(output.note(late).note(parked::warning(bank).await?))
}

/// Gives the followers a moment to catch up. If one of them does not, the answer of the command shows it, so the
/// outcome of the wait is ignored.
async fn wait_for_a_moment(bank: &Bank) {
    let _ = tokio::time::timeout(CATCH_UP_TIME_MAX, bank.wait_until_caught_up()).await;
}

/// Waits until the read models are up to date. Returns a warning if they are not after a while: an append of another
/// program that hangs holds back the log.
async fn catch_up(bank: &Bank) -> Result<Option<String>, Failure> {
    match tokio::time::timeout(TIMEOUT, bank.wait_until_caught_up()).await {
        Ok(caught_up) => Ok(caught_up.map(|()| None)?),
        Err(_) => Ok(Some(format!(
            "the answer is not up to date: followers have not caught up within {} s; see: bank-example followers",
            TIMEOUT.as_secs()
        ))),
    }
}

/// Waits until the movement has reached the ledger, and shows the accounts that it changed.
async fn report_movement(
    bank: &Bank,
    stop: &Stop,
    receipt: Receipt,
    ids: &[Id<Account>],
    what: &str,
) -> Result<Output, Failure> {
    // The movement is recorded even if the ledger does not follow: an error here would invite a second attempt.
    let in_ledger = stop
        .or(
            bank.wait_for(&receipt, EventSourcedBank::LEDGER, TIMEOUT),
            "",
        )
        .await;
    let mut accounts = Vec::new();
    for id in ids {
        let loaded = bank.accounts.load(*id).await.map_err(Failure::from);
        accounts
            .push(loaded.map_err(|error| error.after_it_was_done("the account cannot be shown"))?);
    }
    let output = shown(&accounts, what);
    Ok(match in_ledger {
        Ok(in_ledger) => output.warn(in_ledger),
        Err(_) => output.note(Some(
            "interrupted before the ledger had processed it".to_owned(),
        )),
    })
}

/// Shows the accounts that a movement has changed.
pub(super) fn shown(accounts: &[Root<Account>], what: &str) -> Output {
    let Output { text, json, .. } = output::accounts(accounts);
    let json = match accounts.len() {
        1 => json[0].clone(),
        _ => json,
    };
    Output::new(format!("{what}\n\n{text}"), json)
}

pub(super) async fn ledger(bank: &Bank) -> Result<Option<Root<Ledger>>, ApplicationError> {
    bank.ledger.find(Id::named(GENERAL)).await
}

pub(super) async fn log(
    bank: &Bank,
    mut after: Position,
    limit: usize,
) -> Result<Vec<StoredEvent>, ApplicationError> {
    let mut events = Vec::new();
    while events.len() < limit {
        let wanted = PAGE.min(limit - events.len());
        let page = bank
            .accounts
            .log(LogQuery::after(after).limit(wanted))
            .await?;
        after = page.ceiling;
        let last = page.events.len() < wanted;
        events.extend(page.events);
        if last {
            break;
        }
    }
    Ok(events)
}
