//! The transfer in steps: money that goes from one account to another, possibly at another bank.
//!
//! A transfer and its accounts need not be in one store, so no single append can move the money. The transfer decides
//! and tells the banks by its events; each bank answers with a [`Leg`]. The money leaves the first account before the
//! second bank is asked, and every debited transfer becomes either [completed](State::Completed) or
//! [compensated](State::Compensated). That decision is one event of one aggregate, so an answer of the second bank that
//! arrives later moves nothing.

use eventsourcing::{Aggregate, Id, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BankError, Money, account::Account, positive};

/// The accounts and the amount of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    pub from: Id<Account>,
    pub to: Id<Account>,
    /// The bank that keeps the second account. `None` is this bank, which keeps the first account.
    pub bank: Option<String>,
    #[schemars(schema_with = "crate::amount")]
    pub amount: Money,
}

/// A transfer and its state.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Transfer {
    pub order: Order,
    pub state: State,
}

/// The state of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// The first bank has not answered.
    Requested,
    /// The first bank has refused. Nothing was moved.
    Refused { reason: String },
    /// The money has left the first account. The second bank has not answered.
    Debited,
    /// The second account is credited as soon as its bank processes this.
    Completed,
    /// The first account is credited again as soon as its bank processes this.
    Compensated { reason: String },
}

/// The events of a transfer. Each event carries everything that a bank needs to process it.
#[event(schema)]
impl Transfer {
    fn requested(order: Order) -> Self {
        Self {
            order,
            state: State::Requested,
        }
    }
    fn refused(&mut self, reason: String) {
        self.state = State::Refused { reason };
    }
    fn debited(&mut self, _order: Order) {
        self.state = State::Debited;
    }
    fn completed(&mut self, _order: Order) {
        self.state = State::Completed;
    }
    fn compensated(&mut self, _order: Order, reason: String) {
        self.state = State::Compensated { reason };
    }
}

impl Transfer {
    pub fn request(mut order: Order) -> Result<TransferEvent, BankError> {
        if order.bank.is_none() && order.from == order.to {
            return Err(BankError::SameAccount);
        }
        order.amount = positive(order.amount)?;
        Ok(TransferEvent::Requested { order })
    }
    /// Returns the event that follows from an answer, or `None` if the answer comes too late.
    pub fn answer(&self, side: Side, refusal: Option<String>) -> Option<TransferEvent> {
        let order = self.order.clone();
        match (&self.state, side, refusal) {
            (State::Requested, Side::Debit, None) => Some(TransferEvent::Debited { order }),
            (State::Requested, Side::Debit, Some(reason)) => {
                Some(TransferEvent::Refused { reason })
            }
            (State::Debited, Side::Credit, None) => Some(TransferEvent::Completed { order }),
            (State::Debited, Side::Credit, Some(reason)) => {
                Some(TransferEvent::Compensated { order, reason })
            }
            _ => None,
        }
    }
    /// Returns the event that follows when the second bank has not answered in time.
    pub fn time_out(&self) -> Option<TransferEvent> {
        self.answer(
            Side::Credit,
            Some("the other bank has not answered in time".into()),
        )
    }
    /// Returns `true` if the transfer is in a final state.
    pub fn has_ended(&self) -> bool {
        !matches!(self.state, State::Requested | State::Debited)
    }
}

/// The bank that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Side {
    /// The first bank. It takes the money from the account at once.
    Debit,
    /// The second bank. It agrees to credit the account when the transfer is completed.
    Credit,
}

/// The answer of one bank to a transfer. There is one leg for each side.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Leg {}

#[event(schema)]
impl Leg {
    fn agreed(_transfer: Id<Transfer>, _side: Side) -> Self {
        Self {}
    }
    fn refused(_transfer: Id<Transfer>, _side: Side, _reason: String) -> Self {
        Self {}
    }
}

impl Leg {
    pub fn id(transfer: Id<Transfer>, side: Side) -> Id<Self> {
        Id::named(&format!("{transfer}/{side:?}"))
    }
    pub fn answer(transfer: Id<Transfer>, side: Side, refusal: Option<String>) -> LegEvent {
        match refusal {
            None => LegEvent::Agreed { transfer, side },
            Some(reason) => LegEvent::Refused {
                transfer,
                side,
                reason,
            },
        }
    }
}
