//! The output of commands: aligned text for people, one JSON document for programs.

use bank_example::application::activity::Activity;
use bank_example::application::summaries::AccountSummary;
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::Ledger;
use bank_example::domain::{Money, ZERO};
use comfy_table::{CellAlignment, Table, presets};
use eventsourcing::store::{StoreError, StoredEvent};
use eventsourcing::system::{FollowerHealth, Health};
use eventsourcing::{Codec, RecordedEvent, Root, SystemError};
use serde_json::{Value, json};

use super::failure::{Failure, one_line};

/// An answer in both forms.
pub(crate) struct Output {
    pub(crate) text: String,
    pub(crate) json: Value,
    /// The command was carried out, but something is wrong: the text for standard error.
    pub(crate) warning: Option<String>,
    /// The failure that the answer shows, such as a difference found by `verify`.
    pub(crate) failure: Option<Failure>,
}

impl Output {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            warning: None,
            failure: None,
        }
    }

    /// The output of a command that has already written its answer.
    pub(crate) fn nothing() -> Self {
        Self::new("", Value::Null)
    }

    /// Adds a failure that the answer shows.
    pub(crate) fn fail(mut self, failure: Option<Failure>) -> Self {
        self.failure = failure;
        self
    }

    /// Adds a warning that a follower has failed, unless there is a warning already.
    pub(crate) fn warn(mut self, outcome: Result<(), SystemError>) -> Self {
        self.warning = self.warning.or(outcome.err().map(|error| one_line(&error)));
        self
    }

    /// Adds a warning, unless there is one already.
    pub(crate) fn note(mut self, warning: Option<String>) -> Self {
        self.warning = self.warning.or(warning);
        self
    }

    pub(crate) fn render(self, json: bool) -> String {
        match json {
            _ if self.text.is_empty() && self.json.is_null() => String::new(),
            true => format!("{}\n", self.json),
            false => format!("{}\n", self.text.trim_end()),
        }
    }
}

/// Aligns rows in columns. The columns at the indexes in `right` contain numbers.
pub(super) fn table(
    header: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header)
        .add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if right.contains(&index) {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        };
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_string())
        .collect();
    lines.join("\n")
}

pub(crate) fn accounts(accounts: &[Root<Account>]) -> Output {
    let row = |account: &Root<Account>| {
        vec![
            account.id().to_string(),
            account.owner.clone(),
            cents(account.balance),
            account.version().to_string(),
        ]
    };
    let text = match accounts {
        [] => "no accounts yet; open one with: bank-example open OWNER".to_string(),
        accounts => table(
            &["account", "owner", "balance", "version"],
            &[2, 3],
            accounts.iter().map(row),
        ),
    };
    Output::new(text, accounts.iter().map(account_json).collect())
}

pub(crate) fn summaries(accounts: &[AccountSummary], is_search: bool) -> Output {
    let row = |account: &AccountSummary| {
        let last = account
            .last_movement
            .map(|last| last.to_string())
            .unwrap_or_default();
        let movements = account.movements.to_string();
        vec![
            account.account.to_string(),
            account.owner.clone(),
            cents(account.balance),
            movements,
            last,
        ]
    };
    let text = match accounts {
        [] if is_search => "no account matches".to_string(),
        [] => "no accounts yet; open one with: bank-example open OWNER".to_string(),
        accounts => {
            let header = ["account", "owner", "balance", "movements", "last movement"];
            table(&header, &[2, 3], accounts.iter().map(row))
        }
    };
    let json = |account: &AccountSummary| {
        json!({
            "id": account.account,
            "owner": account.owner,
            "balance": cents(account.balance),
            "version": account.version,
            "movements": account.movements,
            "last_movement": account.last_movement,
            "opened": account.opened,
        })
    };
    Output::new(text, accounts.iter().map(json).collect())
}

pub(crate) fn account(account: &Root<Account>) -> Output {
    Output::new(
        accounts(std::slice::from_ref(account)).text,
        account_json(account),
    )
}

fn account_json(account: &Root<Account>) -> Value {
    json!({
        "id": account.id(),
        "owner": account.owner,
        "balance": cents(account.balance),
        "version": account.version(),
    })
}

pub(crate) fn ledger(ledger: Option<&Ledger>) -> Output {
    let (balance, transactions) =
        ledger.map_or((ZERO, 0), |ledger| (ledger.balance, ledger.transactions));
    let text = format!(
        "balance       {}\ntransactions  {transactions}",
        cents(balance)
    );
    Output::new(
        text,
        json!({ "balance": cents(balance), "transactions": transactions }),
    )
}

pub(crate) fn history(history: &[RecordedEvent<Account>]) -> Output {
    let row = |event: &RecordedEvent<Account>| {
        let (name, detail) = movement(&event.payload);
        vec![
            event.version.to_string(),
            name.into(),
            detail,
            event.recorded_at.to_string(),
        ]
    };
    let text = table(
        &["version", "event", "amount or owner", "recorded at"],
        &[0, 2],
        history.iter().map(row),
    );
    let json = |event: &RecordedEvent<Account>| {
        json!({
            "name": event.name(),
            "version": event.version,
            "position": event.position,
            "recorded_at": event.recorded_at,
            "payload": payload(&event.payload),
            "metadata": event.metadata,
        })
    };
    Output::new(text, history.iter().map(json).collect())
}

pub(crate) fn activity(lines: &[Activity]) -> Output {
    let row = |line: &Activity| {
        let detail = line
            .owner
            .clone()
            .or_else(|| line.amount.map(cents))
            .unwrap_or_default();
        vec![
            line.recorded_at.to_string(),
            line.name.clone(),
            detail,
            line.account.to_string(),
        ]
    };
    let text = table(
        &["recorded at", "what", "amount or owner", "account"],
        &[2],
        lines.iter().map(row),
    );
    let json = |line: &Activity| {
        json!({
            "name": line.name,
            "account": line.account,
            "version": line.version,
            "position": line.position,
            "recorded_at": line.recorded_at,
            "payload": fields(line),
        })
    };
    Output::new(text, lines.iter().map(json).collect())
}

/// The fields of the event in a line of the feed, as they are stored.
fn fields(line: &Activity) -> Value {
    match &line.owner {
        Some(owner) => json!({ "owner": owner }),
        None => json!({ "amount": line.amount.map(cents) }),
    }
}

pub(crate) fn log(events: &[StoredEvent]) -> Result<Output, StoreError> {
    let rows = events.iter().map(log_row).collect::<Result<Vec<_>, _>>()?;
    let json = events.iter().map(log_json).collect::<Result<Vec<_>, _>>()?;
    let header = ["position", "aggregate", "id", "version", "event", "payload"];
    Ok(Output::new(table(&header, &[0, 3], rows), json.into()))
}

/// Shows one event in one line, for output without an end.
pub(crate) fn log_line(event: &StoredEvent, json: bool) -> Result<String, StoreError> {
    match json {
        true => log_json(event).map(|json| json.to_string()),
        false => log_row(event).map(|row| row.join("  ")),
    }
}

fn log_row(event: &StoredEvent) -> Result<Vec<String>, StoreError> {
    Ok(vec![
        event.position.to_string(),
        event.stream.category.to_string(),
        event.stream.id.to_string(),
        event.version.to_string(),
        event.name.to_string(),
        value(event)?.to_string(),
    ])
}

fn log_json(event: &StoredEvent) -> Result<Value, StoreError> {
    Ok(json!({
        "name": event.name.as_str(),
        "aggregate": event.stream.category.as_str(),
        "id": event.stream.id,
        "version": event.version,
        "position": event.position,
        "recorded_at": event.recorded_at,
        "payload": value(event)?,
        "metadata": serde_json::from_slice::<Value>(&event.metadata).unwrap_or(Value::Null),
    }))
}

fn value(event: &StoredEvent) -> Result<Value, StoreError> {
    let unreadable = |error| {
        StoreError::corrupt(
            format!("the event at position {} cannot be read", event.position),
            error,
        )
    };
    Codec::decode_value(event).map_err(unreadable)
}

pub(crate) fn followers(health: &Health) -> Output {
    let row = |follower: &FollowerHealth| {
        let why = follower
            .failure()
            .map(|failure| format!("before {}: {}", failure.event, failure.cause));
        let build = follower
            .build
            .as_ref()
            .map(|build| format!("building, at {} of {}", build.position, build.head));
        vec![
            follower.name.to_string(),
            follower.state.to_string(),
            follower.position.to_string(),
            follower.head.to_string(),
            follower.lag.to_string(),
            format!("{:.1} s", follower.behind.as_secs_f64()),
            (follower.parked + follower.parked_timers).to_string(),
            follower.timers.to_string(),
            follower
                .next_due
                .map(|due| due.to_string())
                .unwrap_or_default(),
            follower
                .holder
                .as_ref()
                .map(|holder| holder.process.clone())
                .unwrap_or_default(),
            why.or(build).unwrap_or_default(),
        ]
    };
    let header = [
        "follower",
        "state",
        "position",
        "head",
        "events behind",
        "time behind",
        "parked",
        "timers",
        "next due",
        "run by",
        "remark",
    ];
    let json = |follower: &FollowerHealth| {
        json!({
            "name": follower.name.as_str(),
            "state": follower.state.to_string(),
            "position": follower.position,
            "head": follower.head,
            "behind_events": follower.lag,
            "behind_seconds": follower.behind.as_secs_f64(),
            "parked": follower.parked,
            "parked_timers": follower.parked_timers,
            "timers": follower.timers,
            "next_due": follower.next_due,
            "holder": follower.holder.as_ref().map(|holder| &holder.process),
            "build": follower.build.as_ref().map(|build| json!({ "position": build.position, "head": build.head })),
            "failure": follower.failure().map(ToString::to_string),
        })
    };
    let followers = &health.followers;
    let mut text = table(&header, &[2, 3, 4, 5, 6, 7], followers.iter().map(row));
    for acknowledged in health.acknowledged.values() {
        text.push_str(&format!("\n\nacknowledged: {acknowledged}"));
    }
    Output::new(text, followers.iter().map(json).collect()).note(held_back(health))
}

/// Names the appends that hold back the log: while they are open, followers receive nothing new.
fn held_back(health: &Health) -> Option<String> {
    let holders: Vec<_> = health.log_holders.iter().map(ToString::to_string).collect();
    let advice = "an administrator of the server can end such a process with pg_terminate_backend";
    (!holders.is_empty()).then(|| {
        format!(
            "the log is held back by {}; {advice}",
            holders.join(", and by ")
        )
    })
}

/// Describes an event for people: its name, and an amount or the owner.
fn movement(event: &AccountEvent) -> (&'static str, String) {
    match event {
        AccountEvent::Opened { owner } => ("Opened", owner.clone()),
        AccountEvent::Credited { amount } => ("Credited", cents(*amount)),
        AccountEvent::Debited { amount } => ("Debited", cents(*amount)),
    }
}

/// The fields of an event, as they are stored.
fn payload(event: &AccountEvent) -> Value {
    match event {
        AccountEvent::Opened { owner } => json!({ "owner": owner }),
        AccountEvent::Credited { amount } | AccountEvent::Debited { amount } => {
            json!({ "amount": cents(*amount) })
        }
    }
}

pub(crate) fn cents(amount: Money) -> String {
    format!("{amount:.2}")
}
