//! The forms that change something: open, credit, debit, transfer.
//!
//! A form that is refused is shown again with its values and the reason beside the wrong field. A form that is carried
//! out redirects to its page, after the page's read models have caught up. A form that is sent twice is carried out
//! once.

use std::future::Future;

use axum::Router;
use axum::extract::{Extension, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use eventsourcing::store::{CommandId, Position};
use eventsourcing::{ApplicationError, CommandError, DEFAULT_TIMEOUT, Id, Metadata};
use serde::Deserialize;
use uuid::Uuid;

use super::{Failure, InSession, account, bank, shown};
use crate::application::accounts::AccountService;
use crate::application::summaries::Listing;
use crate::domain::account::Account;
use crate::domain::{BankError, Money};
use crate::system::EventSourcedBank;
use crate::web::State;
use crate::web::security::Sent;

pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/open", post(open))
        .route("/credit", post(credit))
        .route("/debit", post(debit))
        .route("/transfer", post(transfer))
}

/// The value of a field, and its error.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) value: String,
    pub(super) error: Option<String>,
}

impl Field {
    fn new(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            error: None,
        }
    }
}

/// A form. Not every form has every field.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    pub(super) owner: Field,
    pub(super) account: Field,
    pub(super) to: Field,
    pub(super) amount: Field,
    /// The error that belongs to none of the fields.
    pub(super) error: Option<String>,
    /// The random part of the command id, which makes the form one command, however often it is sent.
    pub(super) nonce: String,
}

/// All forms of a page.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    pub(super) open: Filled,
    pub(super) credit: Filled,
    pub(super) debit: Filled,
    pub(super) transfer: Filled,
    /// The id of the account whose page has the forms; empty on the page of the bank.
    pub(super) on: String,
}

impl Forms {
    /// Returns empty forms.
    pub(super) fn empty(on: Option<Id<Account>>) -> Self {
        let on = on.map(|id| id.to_string()).unwrap_or_default();
        let form = || Filled {
            account: Field::new(&on),
            nonce: Uuid::new_v4().to_string(),
            ..Filled::default()
        };
        Self {
            open: form(),
            credit: form(),
            debit: form(),
            transfer: form(),
            on,
        }
    }

    fn of(&mut self, kind: Kind) -> &mut Filled {
        match kind {
            Kind::Open => &mut self.open,
            Kind::Credit => &mut self.credit,
            Kind::Debit => &mut self.debit,
            Kind::Transfer => &mut self.transfer,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Open,
    Credit,
    Debit,
    Transfer,
}

impl Kind {
    fn done(self) -> &'static str {
        match self {
            Self::Open => "opened",
            Self::Credit => "credited",
            Self::Debit => "debited",
            Self::Transfer => "transferred",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    owner: String,
    account: String,
    to: String,
    amount: String,
    nonce: String,
    on: String,
}

/// The reason for which a form was not carried out, by the field that is wrong.
enum Refusal {
    Owner(String),
    Account(String),
    To(String),
    Amount(String),
    Whole(String),
}

/// The message for a form with the token of another session.
pub(super) const OUTDATED: &str = "The form is out of date, so nothing was done. Check it and send it again. If this \
                                   happens again, allow cookies for the bank.";

type Form = Sent<Fields>;

async fn open(
    Extract(state): Extract<State>,
    session: InSession,
    form: Form,
) -> Result<Response, Failure> {
    run(&state, session, Kind::Open, form, async |bank, fields| {
        let owner = fields.owner.trim();
        bank.open(owner)
            .await
            .map(drop)
            .map_err(|rejected| refusal(rejected, None))
    })
    .await
}

async fn credit(
    Extract(state): Extract<State>,
    session: InSession,
    form: Form,
) -> Result<Response, Failure> {
    run(&state, session, Kind::Credit, form, async |bank, fields| {
        let id = resolve_account(&state, &fields.account)
            .await
            .map_err(Refusal::Account)?;
        bank.credit(id, amount(&fields.amount)?)
            .await
            .map(drop)
            .map_err(|rejected| refusal(rejected, None))
    })
    .await
}

async fn debit(
    Extract(state): Extract<State>,
    session: InSession,
    form: Form,
) -> Result<Response, Failure> {
    run(&state, session, Kind::Debit, form, async |bank, fields| {
        let id = resolve_account(&state, &fields.account)
            .await
            .map_err(Refusal::Account)?;
        bank.debit(id, amount(&fields.amount)?)
            .await
            .map(drop)
            .map_err(|rejected| refusal(rejected, None))
    })
    .await
}

async fn transfer(
    Extract(state): Extract<State>,
    session: InSession,
    form: Form,
) -> Result<Response, Failure> {
    run(
        &state,
        session,
        Kind::Transfer,
        form,
        async |bank, fields| {
            let from = resolve_account(&state, &fields.account)
                .await
                .map_err(Refusal::Account)?;
            let to = resolve_account(&state, &fields.to)
                .await
                .map_err(Refusal::To)?;
            let amount = amount(&fields.amount)?;
            bank.transfer(from, to, amount)
                .await
                .map(drop)
                .map_err(|rejected| refusal(rejected, Some(to)))
        },
    )
    .await
}

async fn run<F>(
    state: &State,
    session: InSession,
    kind: Kind,
    form: Form,
    carry_out: impl FnOnce(AccountService, Fields) -> F,
) -> Result<Response, Failure>
where
    F: Future<Output = Result<(), Refusal>>,
{
    let (fields, actor) = match form {
        Sent::Signed { fields, actor } => (fields, actor),
        Sent::Outdated { fields } => return outdated(state, session, kind, &fields).await,
    };
    let on = on(&fields);
    let command = command(kind, &fields);
    let application = state
        .bank
        .accounts
        .with(Metadata::actor(actor))
        .command(command);
    let mut forms = Forms::empty(on);
    fill_in(forms.of(kind), &fields);
    let refusal = match carry_out(application.into(), fields).await {
        Ok(()) => return done(state, kind, on, command).await,
        Err(refusal) => refusal,
    };
    let is_unclear = matches!(refusal, Refusal::Whole(_));
    explain(forms.of(kind), refusal);
    let status = if is_unclear {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    shown_again(state, session, on, forms, status).await
}

/// Shows a form again with its values and with a token of this session, to be sent once more.
async fn outdated(
    state: &State,
    session: InSession,
    kind: Kind,
    fields: &Fields,
) -> Result<Response, Failure> {
    let on = on(fields);
    let mut forms = Forms::empty(on);
    fill_in(forms.of(kind), fields);
    forms.of(kind).error = Some(OUTDATED.to_owned());
    shown_again(state, session, on, forms, StatusCode::FORBIDDEN).await
}

async fn shown_again(
    state: &State,
    Extension(session): InSession,
    on: Option<Id<Account>>,
    forms: Forms,
    status: StatusCode,
) -> Result<Response, Failure> {
    let page = match on {
        Some(id) => account::with_forms(state, session, id, forms).await?,
        None => bank::with_forms(state, session, forms).await?,
    };
    Ok((status, page).into_response())
}

/// Returns the account whose page has the form.
fn on(fields: &Fields) -> Option<Id<Account>> {
    fields.on.parse().ok()
}

/// Returns the command id of a form: the same form with the same values is the same command.
fn command(kind: Kind, fields: &Fields) -> CommandId {
    let Fields {
        owner,
        account,
        to,
        amount,
        nonce,
        ..
    } = fields;
    let namespace = Uuid::try_parse(nonce).unwrap_or_else(|_| Uuid::new_v4());
    let asked = format!("{kind:?}\n{owner}\n{account}\n{to}\n{amount}");
    CommandId::from_uuid(Uuid::new_v5(&namespace, asked.as_bytes()))
}

fn fill_in(form: &mut Filled, fields: &Fields) {
    form.owner = Field::new(&fields.owner);
    form.account = Field::new(&fields.account);
    form.to = Field::new(&fields.to);
    form.amount = Field::new(&fields.amount);
    form.nonce = Uuid::try_parse(&fields.nonce)
        .map_or_else(|_| form.nonce.clone(), |nonce| nonce.to_string());
}

fn explain(form: &mut Filled, refusal: Refusal) {
    match refusal {
        Refusal::Owner(why) => form.owner.error = Some(why),
        Refusal::Account(why) => form.account.error = Some(why),
        Refusal::To(why) => form.to.error = Some(why),
        Refusal::Amount(why) => form.amount.error = Some(why),
        Refusal::Whole(why) => form.error = Some(why),
    }
}

/// Waits until the read models show the change, and redirects to the page. The change is recorded, so an error of the
/// wait is ignored.
async fn done(
    state: &State,
    kind: Kind,
    on: Option<Id<Account>>,
    command: CommandId,
) -> Result<Response, Failure> {
    let bank = &state.bank;
    if let Some(receipt) = bank.accounts.store().receipt(command).await? {
        let _ = tokio::join!(
            bank.summaries.wait_for(&receipt, DEFAULT_TIMEOUT),
            bank.activity.wait_for(&receipt, DEFAULT_TIMEOUT),
            bank.wait_for(&receipt, EventSourcedBank::LEDGER, DEFAULT_TIMEOUT),
        );
    }
    let page = on.map_or_else(|| "/".to_owned(), |id| format!("/accounts/{id}"));
    Ok(Redirect::to(&format!("{page}?done={}", kind.done())).into_response())
}

/// Finds an account by its id, or by its owner if that owner has only one account.
async fn resolve_account(state: &State, typed: &str) -> Result<Id<Account>, String> {
    let typed = shown::typed(typed);
    if typed.is_empty() {
        return Err("Enter the id of an account, or the name of its owner.".to_owned());
    }
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let owner = typed.to_lowercase();
    let mut found = Vec::new();
    let mut after = Position::ZERO;
    while found.len() < 2 {
        let page = state
            .bank
            .summaries
            .list(Listing {
                owner: &owner,
                after,
                limit: 100,
            })
            .await;
        let page = page.map_err(|_| {
            "The accounts cannot be searched at the moment; enter the id.".to_owned()
        })?;
        let Some(last) = page.last() else { break };
        after = last.opened;
        found.extend(
            page.iter()
                .filter(|summary| summary.owner.to_lowercase() == owner)
                .map(|summary| summary.account),
        );
    }
    match found[..] {
        [] => Err(format!("“{typed}” has no account.")),
        [id] => Ok(id),
        _ => Err(format!(
            "“{typed}” has several accounts; enter the id of one."
        )),
    }
}

fn amount(typed: &str) -> Result<Money, Refusal> {
    let shown: String = shown::typed(typed).chars().take(40).collect();
    if shown.is_empty() {
        return Err(Refusal::Amount(
            "Enter an amount, such as 20 or 20.00.".to_owned(),
        ));
    }
    let wrong = |_| {
        Refusal::Amount(format!(
            "“{shown}” is not an amount. Enter an amount such as 20 or 20.00."
        ))
    };
    Money::from_str_exact(typed.trim()).map_err(wrong)
}

/// Assigns a rejection to the field that it is about.
fn refusal(rejected: CommandError<BankError>, to: Option<Id<Account>>) -> Refusal {
    match rejected {
        CommandError::Rejected(refused) => {
            let why = sentence(&refused.to_string());
            match refused {
                BankError::InvalidOwner => Refusal::Owner(why),
                BankError::SameAccount => Refusal::To(why),
                BankError::InsufficientFunds { balance, .. } => Refusal::Amount(format!(
                    "The amount exceeds the balance of {}.",
                    shown::money(balance)
                )),
                BankError::InvalidAmount(_) => Refusal::Amount(why),
            }
        }
        CommandError::Application(ApplicationError::NotFound { id, .. }) => {
            let why = "There is no account with this id.".to_owned();
            if to.is_some_and(|to| to.as_uuid() == id) {
                Refusal::To(why)
            } else {
                Refusal::Account(why)
            }
        }
        CommandError::Application(error) => {
            tracing::error!(%error, "command of a form failed");
            let why = "The store failed. Send the form again: it is carried out at most once.";
            Refusal::Whole(why.to_owned())
        }
    }
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
