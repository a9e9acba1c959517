//! Commands with an idempotency key: the bank carries them out once, and a repeated command gets the first answer.
//!
//! They are sent to the API of the bank within this process, so the same key names the same command over HTTP and on
//! the command line.

use std::sync::Arc;

use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::domain::transfer::Transfer;
use bank_example::system::EventSourcedBank;
use bank_example::web::State;
use bank_example::web::api::{KEY_BYTES_MAX, in_process};
use eventsourcing::store::{Position, Version};
use eventsourcing::{Id, Root, RunningSystem};
use serde_json::{Value, json};

use super::commands::shown;
use super::failure::Failure;
use super::output::{Output, cents};
use super::stop::Stop;
use super::transfers;

type Bank = RunningSystem<EventSourcedBank>;

/// The actor in the metadata of events of commands with a key.
const ACTOR: &str = "command line";
const LATE: &str = "the read models and the ledger do not show it yet; see: bank-example followers";

/// An idempotency key: all commands with the same key are one command.
#[derive(Clone, Debug)]
pub(crate) struct Key(String);

impl std::str::FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (1..=KEY_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "a key has 1 to {KEY_BYTES_MAX} bytes and no control characters"
            )),
        }
    }
}

/// The answer of the API to a command that was carried out, now or earlier.
struct ApiAnswer {
    body: Value,
    is_late: bool,
}

impl ApiAnswer {
    fn note(&self, output: Output) -> Output {
        output.note(self.is_late.then(|| LATE.to_owned()))
    }

    fn id<A>(&self, pointer: &str) -> Result<Id<A>, Failure> {
        let id = self
            .body
            .pointer(pointer)
            .and_then(Value::as_str)
            .and_then(|id| id.parse().ok());
        id.ok_or_else(|| Failure::Store(format!("the answer has no id at {pointer}")))
    }

    fn number(&self, pointer: &str) -> Result<u64, Failure> {
        let number = self.body.pointer(pointer).and_then(Value::as_u64);
        number.ok_or_else(|| Failure::Store(format!("the answer has no number at {pointer}")))
    }
}

pub(super) async fn open(bank: &Arc<Bank>, key: &Key, owner: &str) -> Result<Output, Failure> {
    let answer = post(bank, key, "/accounts", &json!({ "owner": owner })).await?;
    let id = answer.id::<Account>("/account/id")?;
    Ok(answer.note(Output::new(id.to_string(), json!({ "id": id }))))
}

pub(super) async fn credit(
    bank: &Arc<Bank>,
    key: &Key,
    id: Id<Account>,
    amount: Money,
) -> Result<Output, Failure> {
    moves(
        bank,
        key,
        id,
        "credit",
        &format!("credited {}", cents(amount)),
        amount,
    )
    .await
}

pub(super) async fn debit(
    bank: &Arc<Bank>,
    key: &Key,
    id: Id<Account>,
    amount: Money,
) -> Result<Output, Failure> {
    moves(
        bank,
        key,
        id,
        "debit",
        &format!("debited {}", cents(amount)),
        amount,
    )
    .await
}

/// Shows the account as the command left it, without later changes.
async fn moves(
    bank: &Arc<Bank>,
    key: &Key,
    id: Id<Account>,
    what: &str,
    done: &str,
    amount: Money,
) -> Result<Output, Failure> {
    let body = json!({ "amount": amount.to_string() });
    let answer = post(bank, key, &format!("/accounts/{id}/{what}"), &body).await?;
    let version = Version::new(answer.number("/account/version")?);
    let account = bank
        .accounts
        .load_at(id, version)
        .await
        .map_err(cannot_show)?;
    Ok(answer.note(shown(&[account], done)))
}

pub(super) async fn transfer(
    bank: &Arc<Bank>,
    key: &Key,
    [from, to]: [Id<Account>; 2],
    amount: Money,
) -> Result<Output, Failure> {
    let body = json!({ "to": to, "amount": amount.to_string() });
    let answer = post(bank, key, &format!("/accounts/{from}/transfer"), &body).await?;
    let position = Position::new(answer.number("/position")?);
    let mut accounts = Vec::new();
    for id in [from, to] {
        accounts.push(as_of(bank, id, position).await?);
    }
    Ok(answer.note(shown(&accounts, &format!("transferred {}", cents(amount)))))
}

/// Loads the account as it was at a position of the log.
async fn as_of(bank: &Bank, id: Id<Account>, position: Position) -> Result<Root<Account>, Failure> {
    let history = bank.accounts.history(id).await.map_err(cannot_show)?;
    let version = history
        .iter()
        .take_while(|event| event.position <= position)
        .last()
        .map(|event| event.version);
    bank.accounts
        .load_at(id, version.unwrap_or_default())
        .await
        .map_err(cannot_show)
}

pub(super) async fn transfer_in_steps(
    bank: &Arc<Bank>,
    key: &Key,
    [from, to]: [Id<Account>; 2],
    amount: Money,
    stop: &Stop,
) -> Result<Output, Failure> {
    let body = json!({ "from": from, "to": to, "amount": amount.to_string() });
    let id = post(bank, key, "/transfers", &body)
        .await?
        .id::<Transfer>("/id")?;
    transfers::ended(&transfers::end(bank, id, stop).await?)
}

fn cannot_show(error: impl Into<Failure>) -> Failure {
    error
        .into()
        .after_it_was_done("the account cannot be shown")
}

async fn post(
    bank: &Arc<Bank>,
    Key(key): &Key,
    path: &str,
    body: &Value,
) -> Result<ApiAnswer, Failure> {
    let answer = in_process::command(State::new(Arc::clone(bank)), path, key, ACTOR, body).await;
    let answer = answer
        .map_err(|error| Failure::Store(format!("the answer of the API is not JSON: {error}")))?;
    if answer.status.is_success() {
        return Ok(ApiAnswer {
            body: answer.body,
            is_late: answer.is_late,
        });
    }
    let text = |field: &str| answer.body[field].as_str().unwrap_or_default().to_owned();
    let detail = text("detail");
    Err(match answer.status.as_u16() {
        _ if text("type").ends_with(":key-reused") => Failure::Refused(
            "the key belongs to another command; take a new key for a new command".to_owned(),
        ),
        400..500 => Failure::Refused(detail),
        _ => Failure::Store(format!(
            "{}: {detail}; repeating the command with its key is safe",
            text("title")
        )),
    })
}
