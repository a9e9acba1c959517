//! Commands about transfers in steps: begin one, wait for its end, list them.

use std::time::Duration;

use bank_example::domain::transfer::{Order, State, Transfer};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::Position;
use eventsourcing::{Id, Root, RunningSystem};
use serde_json::{Value, json};

use super::commands::TIMEOUT;
use super::failure::Failure;
use super::output::{Output, cents, table};
use super::stop::Stop;

type Bank = RunningSystem<EventSourcedBank>;

/// The interval at which the state of a transfer is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The number of ids that are read at once.
const PAGE: usize = 1_000;

/// Begins a transfer and waits, up to a limit, until it has ended and the money is on the right account.
pub(super) async fn run(bank: &Bank, order: Order, stop: &Stop) -> Result<Root<Transfer>, Failure> {
    let id = bank.transfers.request(order).await?.id;
    end(bank, id, stop).await
}

/// Waits until a transfer has ended.
pub(super) async fn end(
    bank: &Bank,
    id: Id<Transfer>,
    stop: &Stop,
) -> Result<Root<Transfer>, Failure> {
    let ended = async {
        while !bank.transfers.load(id).await?.has_ended() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok::<_, Failure>(bank.wait_until_caught_up().await?)
    };
    let looked = async {
        stop.or(tokio::time::timeout(TIMEOUT, ended), "")
            .await?
            .unwrap_or(Ok(()))?;
        Ok(bank.transfers.load(id).await?)
    };
    let unseen = |failure: Failure| {
        failure.after_it_was_done(format_args!("the end of transfer {id} was not waited for"))
    };
    looked.await.map_err(unseen)
}

/// Returns the transfer's id if the transfer was completed.
pub(super) fn ended(transfer: &Root<Transfer>) -> Result<Output, Failure> {
    let id = transfer.id();
    match &transfer.state {
        State::Refused { reason } => Err(Failure::Refused(format!(
            "transfer {id} was refused: {reason}"
        ))),
        State::Compensated { reason } => Err(Failure::Refused(format!(
            "transfer {id} was compensated, the money is back: {reason}"
        ))),
        State::Requested | State::Debited | State::Completed => Ok(one(transfer)),
    }
}

pub(super) fn one(transfer: &Root<Transfer>) -> Output {
    let Output { text, json, .. } = list(std::slice::from_ref(transfer));
    Output::new(text, json[0].clone())
}

pub(super) async fn all(bank: &Bank) -> Result<Output, Failure> {
    let mut transfers = Vec::new();
    let mut after = Position::ZERO;

    loop {
        let page = bank.transfers.ids::<Transfer>(after, PAGE).await?;
        for id in &page.ids {
            transfers.push(bank.transfers.load(*id).await?);
        }
        after = page.ceiling;
        if page.ids.len() < PAGE {
            return Ok(list(&transfers));
        }
    }
}

fn list(transfers: &[Root<Transfer>]) -> Output {
    let row = |transfer: &Root<Transfer>| {
        let Order {
            from, to, amount, ..
        } = &transfer.order;
        let (state, reason) = state(transfer);
        vec![
            transfer.id().to_string(),
            from.to_string(),
            to.to_string(),
            cents(*amount),
            state.into(),
            reason.into(),
        ]
    };
    let text = match transfers {
        [] => "no transfers in steps yet; begin one with: bank-example transfer FROM TO AMOUNT --in-steps".to_string(),
        transfers => table(&["transfer", "from", "to", "amount", "state", "reason"], &[3], transfers.iter().map(row)),
    };
    Output::new(text, transfers.iter().map(json).collect())
}

fn json(transfer: &Root<Transfer>) -> Value {
    let Order {
        from, to, amount, ..
    } = &transfer.order;
    let (state, reason) = state(transfer);
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    json!({ "id": transfer.id(), "from": from, "to": to, "amount": cents(*amount), "state": state, "reason": reason })
}

fn state(transfer: &Transfer) -> (&'static str, &str) {
    match &transfer.state {
        State::Requested => ("requested", ""),
        State::Refused { reason } => ("refused", reason),
        State::Debited => ("debited", ""),
        State::Completed => ("completed", ""),
        State::Compensated { reason } => ("compensated", reason),
    }
}
