//! Events that followers have put aside, and what an operator does about them.

use bank_example::system::EventSourcedBank;
use clap::Subcommand;
use eventsourcing_core::system::{Parked, ParkingAction, ParkingRecord, Retried};
use eventsourcing_core::{Running, SystemError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::output::{Output, table};

type Bank = Running<EventSourcedBank>;

/// What can be done about parked events.
#[derive(Subcommand)]
pub(crate) enum ParkedCommand {
    /// List what is parked, and why (the default)
    List,
    /// Deal again with the event that an account is parked for, and then with those behind it
    Retry {
        /// The follower that has parked it
        follower: String,
        /// The id of the account, or `all`
        id: String,
        /// Let the follower see this payload, a JSON object, in place of the one of the first event; the log stays as it is
        #[arg(long, value_name = "JSON", value_parser = payload)]
        payload: Option<Value>,
        /// Who does it, for the record; this process if not given
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Give up the event that an account is parked for; those behind it wait to be retried
    Drop {
        /// The follower that has parked it
        follower: String,
        /// The id of the account
        id: Uuid,
        /// Why the follower need not deal with it, for the record
        #[arg(long, value_name = "WHY")]
        reason: String,
        /// Who does it, for the record; this process if not given
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Show what was done about parked events, oldest first
    Record,
}

fn payload(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(payload @ Value::Object(_)) => Ok(payload),
        Ok(_) => Err("a payload is a JSON object such as {\"amount\":\"20.00\"}".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl ParkedCommand {
    /// Refuses what makes no sense, before anything is opened.
    pub(crate) fn check(self) -> Result<Self, Failure> {
        match &self {
            Self::Retry { id, .. } if id != "all" && id.parse::<Uuid>().is_err() => {
                Err(Failure::Usage(format!("{id:?} is no id of an account; write one, or all")))
            }
            Self::Retry { id, payload: Some(_), .. } if id == "all" => {
                Err(Failure::Usage("a payload goes with one account, not with all".to_owned()))
            }
            Self::Drop { reason, .. } if reason.trim().is_empty() => {
                Err(Failure::Usage("say why the event is given up: --reason WHY".to_owned()))
            }
            _ => Ok(self),
        }
    }

    /// Returns `true` if the command changes something.
    pub(crate) fn records(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Drop { .. })
    }

    pub(crate) async fn run(self, bank: &Bank) -> Result<Output, Failure> {
        match self {
            Self::List => Ok(listing(&all(bank).await?)),
            Self::Record => {
                let mut records = Vec::new();
                for name in followers() {
                    let of_follower = bank.parking(name)?.records().await?;
                    records.extend(of_follower.into_iter().map(|record| (name, record)));
                }
                records.sort_by_key(|(_, record)| record.at);
                Ok(record(&records))
            }
            Self::Retry { follower, id, payload, by } => retry(bank, &follower, &id, payload, by).await,
            Self::Drop { follower, id, reason, by } => {
                let parked = find(bank, &follower, id).await?;
                signed(bank, &follower, by)?.give_up(&parked.stream, &reason).await?;
                let waiting = parked.waiting;
                let next = match waiting {
                    0 => String::new(),
                    _ => format!("; {waiting} behind it still wait: bank-example parked retry {follower} {id}"),
                };
                let text = format!("gave up version {} of {}{next}", parked.version, parked.stream);
                Ok(Output::new(text, json!({ "follower": follower, "id": id, "waiting": waiting })))
            }
        }
    }
}

fn followers() -> impl Iterator<Item = &'static str> {
    EventSourcedBank::definition().followers.into_iter().map(|follower| follower.name)
}

/// Everything that is parked.
async fn all(bank: &Bank) -> Result<Vec<(&'static str, Parked)>, SystemError> {
    let mut all = Vec::new();
    for name in followers() {
        all.extend(bank.parking(name)?.list().await?.into_iter().map(|parked| (name, parked)));
    }
    Ok(all)
}

/// What a command that shows read models should say besides.
pub(crate) async fn warning(bank: &Bank) -> Result<Option<String>, SystemError> {
    let parked = all(bank).await?;
    let (Some((follower, first)), count) = (parked.first(), parked.len()) else { return Ok(None) };
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    Ok(Some(format!(
        "{follower} has parked {}{others}, which are not in what it shows; see: bank-example parked",
        first.stream
    )))
}

async fn find(bank: &Bank, follower: &str, id: Uuid) -> Result<Parked, Failure> {
    let parked = bank.parking(follower).map_err(unknown)?.list().await?;
    let found = parked.into_iter().find(|parked| parked.stream.id == id);
    found.ok_or_else(|| Failure::Refused(format!("{follower} has not parked {id}; see: bank-example parked")))
}

fn signed<'a>(
    bank: &'a Bank,
    follower: &str,
    by: Option<String>,
) -> Result<eventsourcing_core::system::Parking<'a, EventSourcedBank>, Failure> {
    let parking = bank.parking(follower).map_err(unknown)?;
    Ok(match by {
        Some(by) => parking.by(by),
        None => parking,
    })
}

/// No follower of this name: the words of the command are off.
fn unknown(error: SystemError) -> Failure {
    Failure::Usage(error.to_string())
}

async fn retry(
    bank: &Bank,
    follower: &str,
    id: &str,
    payload: Option<Value>,
    by: Option<String>,
) -> Result<Output, Failure> {
    let parking = signed(bank, follower, by)?;
    let parked = match id.parse() {
        Ok(id) => vec![find(bank, follower, id).await?],
        Err(_) => parking.list().await?,
    };
    let (mut events, mut failures) = (0, Vec::new());
    for Parked { stream, .. } in &parked {
        let outcome = match payload.clone() {
            Some(payload) => parking.retry_edited(stream, payload).await,
            None => parking.retry(stream).await,
        };
        let outcome = outcome.map_err(|error| match events {
            0 => error.into(),
            _ => Failure::from(error).after_it_was_done(format_args!("only for the first {events} events")),
        })?;
        let Retried { events: dealt_with, failure, .. } = outcome;
        events += dealt_with;
        failures.extend(failure);
    }
    if let Some(failure) = failures.first() {
        let still = failures.len();
        return Err(Failure::Refused(format!(
            "{events} events were dealt with; {still} of {} accounts stay parked: {failure}",
            parked.len()
        )));
    }
    let text = format!("{follower} has dealt with {events} events of {} accounts", parked.len());
    Ok(Output::new(text, json!({ "follower": follower, "accounts": parked.len(), "events": events })))
}

fn listing(parked: &[(&'static str, Parked)]) -> Output {
    let row = |(follower, parked): &(&str, Parked)| {
        vec![
            (*follower).to_owned(),
            parked.stream.id.to_string(),
            parked.version.to_string(),
            parked.name.to_string(),
            parked.waiting.to_string(),
            parked.attempts.to_string(),
            parked.since.to_string(),
            parked.cause.clone(),
        ]
    };
    let header = ["follower", "account", "version", "event", "behind it", "attempts", "since", "why"];
    let text = match parked {
        [] => "nothing is parked".to_owned(),
        parked => table(&header, &[2, 4, 5], parked.iter().map(row)),
    };
    let json = |(follower, parked): &(&str, Parked)| {
        json!({
            "follower": follower,
            "id": parked.stream.id,
            "name": parked.name,
            "version": parked.version,
            "position": parked.position,
            "waiting": parked.waiting,
            "attempts": parked.attempts,
            "since": parked.since,
            "cause": parked.cause,
        })
    };
    Output::new(text, parked.iter().map(json).collect())
}

fn record(records: &[(&'static str, ParkingRecord)]) -> Output {
    let row = |(follower, record): &(&str, ParkingRecord)| {
        let what = match &record.action {
            ParkingAction::Retried { events } => format!("retried, {events} events"),
            ParkingAction::Edited { payload } => format!("retried as {payload}"),
            ParkingAction::Failed { cause } => format!("failed again: {cause}"),
            ParkingAction::Dropped { reason } => format!("dropped: {reason}"),
            other => format!("{other:?}"),
        };
        let (id, version) = (record.stream.id.to_string(), record.version.to_string());
        vec![
            record.at.to_string(),
            record.by.clone(),
            (*follower).to_owned(),
            id,
            version,
            record.name.to_string(),
            what,
        ]
    };
    let text = match records {
        [] => "nobody has done anything about a parked event".to_owned(),
        records => {
            let header = ["at", "by", "follower", "account", "version", "event", "what"];
            table(&header, &[4], records.iter().map(row))
        }
    };
    let json = |(follower, record): &(&str, ParkingRecord)| json!({ "follower": follower, "record": record });
    Output::new(text, records.iter().map(json).collect())
}
