//! The transfer in steps: money that goes from one account to another, perhaps at another bank.
//!
//! A transfer and the accounts need not be in one store, so no append can move the money. The transfer decides, and tells
//! the banks by its events; each bank answers with a [`Leg`]. Money leaves the first account before the second is asked, and
//! arrives only when the transfer is [completed](State::Completed) or [compensated](State::Compensated), one of which every
//! transfer becomes once it has been debited. That decision is one event of one aggregate: whatever the second bank answers
//! after it, and however late, moves nothing.

use eventsourcing::{Aggregate, Id, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BankError, Money, account::Account, positive};

/// What is to be moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    pub from: Id<Account>,
    pub to: Id<Account>,
    /// The bank that keeps the second account; `None`: this one, which keeps the first.
    pub bank: Option<String>,
    #[schemars(schema_with = "crate::amount")]
    pub amount: Money,
}

/// A transfer and how far it is.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Transfer {
    pub order: Order,
    pub state: State,
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// The first bank has not answered.
    Requested,
    /// The first bank has refused. Nothing was moved.
    Refused { reason: String },
    /// The money has left the first account. The second bank has not answered.
    Debited,
    /// The money is on the second account, or will be when its bank hears of it.
    Completed,
    /// The money is back on the first account, or will be when its bank hears of it.
    Compensated { reason: String },
}

/// What has happened to a transfer. Each event says all that a bank has to know.
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
    /// What comes of an answer; nothing if it comes too late.
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
    /// The second bank has had its time.
    pub fn time_out(&self) -> Option<TransferEvent> {
        self.answer(
            Side::Credit,
            Some("the other bank has not answered in time".into()),
        )
    }
    /// Whether nothing more will happen.
    pub fn has_ended(&self) -> bool {
        !matches!(self.state, State::Requested | State::Debited)
    }
}

/// Which bank is asked, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Side {
    /// The first, to take the money from the account at once.
    Debit,
    /// The second, whether it will put the money on the account when the transfer is completed.
    Credit,
}

/// The answer of a bank to a transfer: one for each side.
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
