//! What each command does.

use std::sync::Arc;
use std::time::Duration;

use bank_example::application::summaries::Listing;
use bank_example::domain::account::Account;
use bank_example::domain::ledger::{GENERAL, Ledger};
use bank_example::domain::transfer::Order;
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{LogQuery, Position, StoredEvent};
use eventsourcing::{ApplicationError, Id, Receipt, Root, RunningSystem};
use serde_json::json;

pub(crate) use super::args::Checked;
use super::demo;
use super::failure::Failure;
use super::keyed::{self, Key};
use super::output::{self, Output, cents};
use super::stop::Stop;
use super::{parked, rebuild, restored, transfers, verify};

type Bank = RunningSystem<EventSourcedBank>;

/// How many events or ids are read at once.
const PAGE: usize = 1_000;
/// How long followers are given before it is shown where they are.
const TIME_TO_SETTLE: Duration = Duration::from_secs(5);
/// How long the ledger may take to hear of a movement, and a transfer in steps to end.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

impl Checked {
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
            Self::Transfer { .. } | Self::TransferInSteps { .. } | Self::AcceptRestored { .. } => {
                true
            }
            Self::Parked(command) => command.records(),
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

    /// The key that makes the command the same one whenever it is repeated.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Open { key, .. } | Self::Credit { key, .. } | Self::Debit { key, .. } => {
                key.as_ref()
            }
            Self::Transfer { key, .. } | Self::TransferInSteps { key, .. } => key.as_ref(),
            _ => None,
        }
    }

    pub(crate) async fn run(self, bank: &Arc<Bank>, stop: &Stop) -> Result<Output, Failure> {
        match self {
            Self::Demo => demo::run(bank, stop).await,
            Self::Open {
                owner,
                key: Some(key),
            } => keyed::open(bank, &key, &owner).await,
            Self::Credit {
                id,
                amount,
                key: Some(key),
            } => keyed::credit(bank, &key, id, amount).await,
            Self::Debit {
                id,
                amount,
                key: Some(key),
            } => keyed::debit(bank, &key, id, amount).await,
            Self::Transfer {
                from,
                to,
                amount,
                key: Some(key),
            } => keyed::transfer(bank, &key, [from, to], amount).await,
            Self::TransferInSteps {
                from,
                to,
                amount,
                key: Some(key),
            } => keyed::transfer_in_steps(bank, &key, [from, to], amount, stop).await,
            Self::Open { owner, key: None } => {
                let id = bank.accounts.open(&owner).await?;
                Ok(Output::new(id.to_string(), json!({ "id": id })))
            }
            Self::Credit {
                id,
                amount,
                key: None,
            } => {
                let receipt = bank.accounts.credit(id, amount).await?;
                moved(
                    bank,
                    stop,
                    receipt,
                    &[id],
                    &format!("credited {}", cents(amount)),
                )
                .await
            }
            Self::Debit {
                id,
                amount,
                key: None,
            } => {
                let receipt = bank.accounts.debit(id, amount).await?;
                moved(
                    bank,
                    stop,
                    receipt,
                    &[id],
                    &format!("debited {}", cents(amount)),
                )
                .await
            }
            Self::Transfer {
                from,
                to,
                amount,
                key: None,
            } => {
                let receipt = bank.accounts.transfer(from, to, amount).await?;
                moved(
                    bank,
                    stop,
                    receipt,
                    &[from, to],
                    &format!("transferred {}", cents(amount)),
                )
                .await
            }
            Self::TransferInSteps {
                from,
                to,
                amount,
                key: None,
            } => {
                let order = Order {
                    from,
                    to,
                    bank: None,
                    amount,
                };
                transfers::ended(&transfers::run(bank, order, stop).await?)
            }
            Self::Transfers { id: Some(id) } => Ok(transfers::one(&bank.transfers.load(id).await?)),
            Self::Transfers { id: None } => transfers::all(bank).await,
            Self::Accounts {
                owner,
                after,
                limit,
            } => {
                let late = settled(bank).await?;
                let listing = Listing {
                    owner: &owner,
                    after,
                    limit,
                };
                let output =
                    output::summaries(&bank.summaries.list(listing).await?, !owner.is_empty());
                Ok(output.note(late).note(parked::warning(bank).await?))
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
                let late = settled(bank).await?;
                Ok(output::ledger(ledger(bank).await?.as_deref())
                    .note(late)
                    .note(parked::warning(bank).await?))
            }
            Self::Parked(command) => {
                // Whatever keeps other followers from settling is not what is asked for.
                let _ = tokio::time::timeout(TIME_TO_SETTLE, bank.wait_until_caught_up()).await;
                command.run(bank).await
            }
            Self::Followers => {
                // How far they get says as much as whether they get there.
                let _ = tokio::time::timeout(TIME_TO_SETTLE, bank.wait_until_caught_up()).await;
                Ok(output::followers(&bank.health().await?))
            }
            Self::Verify { contents } => {
                let _ = tokio::time::timeout(TIME_TO_SETTLE, bank.wait_until_caught_up()).await;
                verify::run(bank, contents).await
            }
            Self::Rebuild { name } => rebuild::run(bank, &name, stop).await,
            Self::AcceptRestored { follower, kept } => {
                restored::accept(bank, &follower, kept).await
            }
            Self::Log { after, limit } => Ok(output::log(&log(bank, after, limit).await?)?),
            Self::Activity { limit } => {
                let late = settled(bank).await?;
                let output = output::activity(&bank.activity.newest(limit).await?);
                Ok(output.note(late).note(parked::warning(bank).await?))
            }
        }
    }
}

/// Waits until what is shown is up to date. Returns a warning if it is not after a while: an append of somebody else that
/// hangs holds back the log.
async fn settled(bank: &Bank) -> Result<Option<String>, Failure> {
    match tokio::time::timeout(TIMEOUT, bank.wait_until_caught_up()).await {
        Ok(settled) => Ok(settled.map(|()| None)?),
        Err(_) => Ok(Some(format!(
            "what is shown is not up to date: followers have not caught up within {} s; see: bank-example followers",
            TIMEOUT.as_secs()
        ))),
    }
}

/// Waits until the movement has reached the ledger, and shows the accounts it touched.
async fn moved(
    bank: &Bank,
    stop: &Stop,
    receipt: Receipt,
    ids: &[Id<Account>],
    what: &str,
) -> Result<Output, Failure> {
    // It is recorded, whatever becomes of the ledger: an error would invite a second try.
    let heard_of = stop
        .or(bank.wait_for(&receipt, "ledger", TIMEOUT), "")
        .await;
    let mut accounts = Vec::new();
    for id in ids {
        let loaded = bank.accounts.load(*id).await.map_err(Failure::from);
        accounts
            .push(loaded.map_err(|error| error.after_it_was_done("the account cannot be shown"))?);
    }
    let output = shown(&accounts, what);
    Ok(match heard_of {
        Ok(heard_of) => output.warn(heard_of),
        Err(_) => output.note(Some(
            "interrupted before the ledger was known to have it".to_owned(),
        )),
    })
}

/// The accounts that a movement has touched.
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
