//! Commands for events and timers that followers have parked (dead letters).

use bank_example::system::EventSourcedBank;
use clap::Subcommand;
use eventsourcing::system::{
    Parked, ParkedTimer, ParkingAction, ParkingRecord, Retried, TimerRecord,
};
use eventsourcing::{RunningSystem, SystemError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::output::{Output, table};

type Bank = RunningSystem<EventSourcedBank>;

/// A command about parked events and timers.
#[derive(Subcommand)]
pub(crate) enum ParkedCommand {
    /// List parked events and timers, and why each is parked (the default)
    List,
    /// Process the event again that an account is parked for, and then the events waiting behind it; or process a timer
    /// again
    Retry {
        /// The follower that has parked it, as in `followers`
        follower: String,
        /// The id of the account, `timer:KEY`, or `all`
        id: Selection,
        /// Process this payload, a JSON object, in place of the one of the first event; the log stays as it is
        #[arg(long, value_name = "JSON", value_parser = payload)]
        payload: Option<Value>,
        /// The person who does it, for the record; this process if not given
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Discard the event that an account is parked for, or discard a timer; events waiting behind it stay parked until
    /// they are retried
    Drop {
        /// The follower that has parked it, as in `followers`
        follower: String,
        /// The id of the account, or `timer:KEY`
        id: ParkedId,
        /// The reason for which it need not be processed, for the record
        #[arg(long, value_name = "WHY", value_parser = reason)]
        reason: String,
        /// The person who does it, for the record; this process if not given
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Show what was done about parked events and timers, oldest first
    Record,
}

fn payload(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("say why the event is discarded: --reason WHY".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// One parked thing, as it is named on the command line.
#[derive(Clone)]
pub(crate) enum ParkedId {
    Account(Uuid),
    /// The key of a timer.
    Timer(String),
}

impl std::str::FromStr for ParkedId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.strip_prefix("timer:"), text.parse()) {
            (Some(key), _) => Ok(Self::Timer(key.to_owned())),
            (None, Ok(id)) => Ok(Self::Account(id)),
            (None, Err(_)) if text == "all" => {
                Err("discard one account or timer at a time".to_owned())
            }
            (None, Err(_)) => Err(format!(
                "{text:?} is not the id of an account; write one, or timer:KEY"
            )),
        }
    }
}

/// The parked things that are retried.
#[derive(Clone)]
pub(crate) enum Selection {
    All,
    One(ParkedId),
}

impl std::str::FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            text => text
                .parse()
                .map(Self::One)
                .map_err(|error: String| format!("{error}, or all")),
        }
    }
}

impl ParkedCommand {
    /// Refuses a payload that does not fit to what is retried, before a store is opened.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        match self {
            Self::Retry {
                id: Selection::All,
                payload: Some(_),
                ..
            } => Err(Failure::Usage(
                "a payload goes with one account or timer, not with all".to_owned(),
            )),
            Self::Retry {
                id: Selection::One(ParkedId::Account(_)),
                payload: Some(payload),
                ..
            } if !payload.is_object() => {
                let example = "{\"amount\":\"20.00\"}";
                Err(Failure::Usage(format!(
                    "the payload of an event is a JSON object such as {example}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if the command changes something.
    pub(crate) fn records(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Drop { .. })
    }

    pub(crate) async fn run(self, bank: &Bank) -> Result<Output, Failure> {
        match self {
            Self::List => Ok(listing(&all(bank).await?, &all_timers(bank).await?)),
            Self::Record => {
                let mut records = Vec::new();
                let mut of_timers = Vec::new();

                for name in followers() {
                    let parking = bank.parking(bank.find_follower(name)?)?;
                    records.extend(
                        parking
                            .records()
                            .await?
                            .into_iter()
                            .map(|record| (name, record)),
                    );
                    of_timers.extend(
                        parking
                            .timer_records()
                            .await?
                            .into_iter()
                            .map(|record| (name, record)),
                    );
                }
                Ok(record(&records, &of_timers))
            }
            Self::Retry {
                follower,
                id,
                payload,
                by,
            } => match id {
                Selection::All => retry(bank, &follower, None, payload, by).await,
                Selection::One(ParkedId::Account(id)) => {
                    retry(bank, &follower, Some(id), payload, by).await
                }
                Selection::One(ParkedId::Timer(key)) => {
                    retry_timer(bank, &follower, &key, payload, by).await
                }
            },
            Self::Drop {
                follower,
                id,
                reason,
                by,
            } => match id {
                ParkedId::Account(id) => give_up(bank, &follower, id, &reason, by).await,
                ParkedId::Timer(key) => discard(bank, &follower, &key, &reason, by).await,
            },
        }
    }
}

fn followers() -> impl Iterator<Item = &'static str> {
    EventSourcedBank::definition()
        .followers
        .into_iter()
        .map(|follower| follower.name)
}

/// Lists all parked events.
async fn all(bank: &Bank) -> Result<Vec<(&'static str, Parked)>, SystemError> {
    let mut all = Vec::new();
    for name in followers() {
        all.extend(
            bank.parking(bank.find_follower(name)?)?
                .list()
                .await?
                .into_iter()
                .map(|parked| (name, parked)),
        );
    }
    Ok(all)
}

/// Lists all parked timers.
async fn all_timers(bank: &Bank) -> Result<Vec<(&'static str, ParkedTimer)>, SystemError> {
    let mut all = Vec::new();
    for name in followers() {
        all.extend(
            bank.parking(bank.find_follower(name)?)?
                .timers()
                .await?
                .into_iter()
                .map(|timer| (name, timer)),
        );
    }
    Ok(all)
}

/// Returns a warning for commands that show read models, if events are parked.
pub(crate) async fn warning(bank: &Bank) -> Result<Option<String>, SystemError> {
    let parked = all(bank).await?;
    let (Some((follower, first)), count) = (parked.first(), parked.len()) else {
        return Ok(None);
    };
    let others = if count > 1 {
        format!(" and {} more", count - 1)
    } else {
        String::new()
    };
    Ok(Some(format!(
        "{follower} has parked {}{others}, which are not in what it shows; see: bank-example parked",
        first.stream
    )))
}

async fn find(bank: &Bank, follower: &str, id: Uuid) -> Result<Parked, Failure> {
    let parked = bank.parking(bank.find_follower(follower)?)?.list().await?;
    let found = parked.into_iter().find(|parked| parked.stream.id == id);
    found.ok_or_else(|| {
        Failure::Refused(format!(
            "{follower} has not parked {id}; see: bank-example parked"
        ))
    })
}

fn signed<'a>(
    bank: &'a Bank,
    follower: &str,
    by: Option<String>,
) -> Result<eventsourcing::system::Parking<'a, EventSourcedBank>, Failure> {
    let parking = bank.parking(bank.find_follower(follower)?)?;
    Ok(match by {
        Some(by) => parking.by(by),
        None => parking,
    })
}

/// Retries one account, or everything that is parked.
async fn retry(
    bank: &Bank,
    follower: &str,
    id: Option<Uuid>,
    payload: Option<Value>,
    by: Option<String>,
) -> Result<Output, Failure> {
    let parking = signed(bank, follower, by)?;
    let (parked, timers) = match id {
        Some(id) => (vec![find(bank, follower, id).await?], Vec::new()),
        None => (parking.list().await?, parking.timers().await?),
    };
    let mut events = 0;
    let mut failures = Vec::new();

    for Parked { stream, .. } in &parked {
        let outcome = match payload.clone() {
            Some(payload) => parking.retry_edited(stream, payload).await,
            None => parking.retry(stream).await,
        };
        let outcome = outcome.map_err(|error| match events {
            0 => error.into(),
            _ => Failure::from(error).after_it_was_done(format_args!(
                "only the first {events} events were processed"
            )),
        })?;
        let Retried {
            events: processed,
            failure,
            ..
        } = outcome;
        events += processed;
        failures.extend(failure);
    }
    let accounts_left = failures.len();
    for ParkedTimer { key, .. } in &timers {
        failures.extend(parking.retry_timer(key).await?);
    }
    if let Some(failure) = failures.first() {
        let timers_left = match failures.len() - accounts_left {
            0 => String::new(),
            left => format!(", {left} of {} timers", timers.len()),
        };
        return Err(Failure::Refused(format!(
            "{events} events were processed; {accounts_left} of {} accounts{timers_left} stay parked: {failure}",
            parked.len()
        )));
    }
    let and_timers = if timers.is_empty() {
        String::new()
    } else {
        format!(", and {} timers", timers.len())
    };
    let text = format!(
        "{follower} has processed {events} events of {} accounts{and_timers}",
        parked.len()
    );
    let accounts = parked.len();
    let json = json!({ "follower": follower, "accounts": accounts, "events": events, "timers": timers.len() });
    Ok(Output::new(text, json))
}

async fn retry_timer(
    bank: &Bank,
    follower: &str,
    key: &str,
    payload: Option<Value>,
    by: Option<String>,
) -> Result<Output, Failure> {
    let parking = signed(bank, follower, by)?;
    find_timer(bank, follower, key).await?;
    let failure = match payload {
        Some(payload) => parking.retry_timer_edited(key, payload).await?,
        None => parking.retry_timer(key).await?,
    };
    match failure {
        Some(failure) => Err(Failure::Refused(format!(
            "the timer stays parked: {failure}"
        ))),
        None => {
            let text = format!("{follower} has processed timer {key:?}");
            Ok(Output::new(
                text,
                json!({ "follower": follower, "timer": key }),
            ))
        }
    }
}

async fn give_up(
    bank: &Bank,
    follower: &str,
    id: Uuid,
    reason: &str,
    by: Option<String>,
) -> Result<Output, Failure> {
    let parked = find(bank, follower, id).await?;
    signed(bank, follower, by)?
        .discard(&parked.stream, reason)
        .await?;
    let waiting = parked.waiting;
    let next = match waiting {
        0 => String::new(),
        _ => format!(
            "; {waiting} waiting behind it stay parked: bank-example parked retry {follower} {id}"
        ),
    };
    let text = format!(
        "discarded version {} of {}{next}",
        parked.version, parked.stream
    );
    Ok(Output::new(
        text,
        json!({ "follower": follower, "id": id, "waiting": waiting }),
    ))
}

async fn discard(
    bank: &Bank,
    follower: &str,
    key: &str,
    reason: &str,
    by: Option<String>,
) -> Result<Output, Failure> {
    find_timer(bank, follower, key).await?;
    signed(bank, follower, by)?
        .discard_timer(key, reason)
        .await?;
    let text = format!("discarded timer {key:?} of {follower}");
    Ok(Output::new(
        text,
        json!({ "follower": follower, "timer": key }),
    ))
}

async fn find_timer(bank: &Bank, follower: &str, key: &str) -> Result<ParkedTimer, Failure> {
    let parked = bank
        .parking(bank.find_follower(follower)?)?
        .timers()
        .await?;
    let found = parked.into_iter().find(|timer| timer.key == key);
    found.ok_or_else(|| {
        Failure::Refused(format!(
            "{follower} has not parked a timer {key:?}; see: bank-example parked"
        ))
    })
}

fn listing(parked: &[(&'static str, Parked)], timers: &[(&'static str, ParkedTimer)]) -> Output {
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
    let header = [
        "follower",
        "account",
        "version",
        "event",
        "behind it",
        "attempts",
        "since",
        "why",
    ];
    let mut parts = Vec::new();
    if !parked.is_empty() {
        parts.push(table(&header, &[2, 4, 5], parked.iter().map(row)));
    }
    if !timers.is_empty() {
        let header = ["follower", "timer", "due", "attempts", "since", "why"];
        parts.push(table(&header, &[3], timers.iter().map(timer_row)));
    }
    let text = if parts.is_empty() {
        "nothing is parked".to_owned()
    } else {
        parts.join("\n")
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
    Output::new(
        text,
        parked
            .iter()
            .map(json)
            .chain(timers.iter().map(timer_json))
            .collect(),
    )
}

fn timer_row((follower, timer): &(&str, ParkedTimer)) -> Vec<String> {
    vec![
        (*follower).to_owned(),
        timer.key.clone(),
        timer.due.to_string(),
        timer.attempts.to_string(),
        timer.since.to_string(),
        timer.cause.clone(),
    ]
}

fn timer_json((follower, timer): &(&str, ParkedTimer)) -> Value {
    json!({
        "follower": follower,
        "timer": timer.key,
        "due": timer.due,
        "payload": timer.payload,
        "attempts": timer.attempts,
        "since": timer.since,
        "cause": timer.cause,
    })
}

fn record(
    records: &[(&'static str, ParkingRecord)],
    of_timers: &[(&'static str, TimerRecord)],
) -> Output {
    let row = |(follower, record): &(&str, ParkingRecord)| {
        let id = record.stream.id.to_string();
        let version = record.version.to_string();

        let ParkingRecord {
            at,
            by,
            name,
            action,
            ..
        } = record;
        let row = [
            at.to_string(),
            by.clone(),
            (*follower).to_owned(),
            id,
            version,
            name.to_string(),
            done(action),
        ];
        (
            *at,
            row.to_vec(),
            json!({ "follower": follower, "record": record }),
        )
    };
    let timer_row = |(follower, record): &(&str, TimerRecord)| {
        let TimerRecord {
            at,
            by,
            key,
            action,
            ..
        } = record;
        let timer = format!("timer:{key}");
        let nothing = String::new();

        let row = [
            at.to_string(),
            by.clone(),
            (*follower).to_owned(),
            timer,
            nothing.clone(),
            nothing,
            done(action),
        ];
        (
            *at,
            row.to_vec(),
            json!({ "follower": follower, "record": record }),
        )
    };
    let mut all: Vec<_> = records
        .iter()
        .map(row)
        .chain(of_timers.iter().map(timer_row))
        .collect();
    all.sort_by_key(|(at, ..)| *at);
    let text = match &all[..] {
        [] => "no parked event or timer was retried or discarded".to_owned(),
        all => {
            let header = [
                "at", "by", "follower", "account", "version", "event", "what",
            ];
            table(&header, &[4], all.iter().map(|(_, row, _)| row.clone()))
        }
    };
    Output::new(text, all.into_iter().map(|(.., json)| json).collect())
}

/// Describes what was done and its outcome.
fn done(action: &ParkingAction) -> String {
    match action {
        ParkingAction::Retried { events: 0 } => "retried".to_owned(),
        ParkingAction::Retried { events } => format!("retried, {events} events"),
        ParkingAction::Edited { payload } => format!("retried as {payload}"),
        ParkingAction::Failed { cause } => format!("failed again: {cause}"),
        ParkingAction::Dropped { reason } => format!("dropped: {reason}"),
        other => format!("{other:?}"),
    }
}
