//! [`TransferService`]: transfers in steps, each of which ends.

use std::time::Duration;

use derive_more::{Deref, From};
use eventsourcing::{
    Application, ApplicationError, CommandError, Created, Due, Id, Policy, RecordedEvent, Timers,
    UnitOfWork,
};
use jiff::Timestamp;

use crate::domain::BankError;
use crate::domain::transfer::{Leg, LegEvent, Order, Side, Transfer, TransferEvent};

/// The time that the second bank has to answer before the money goes back.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs transfers in steps. Dereferences to its application, for everything that only reads.
#[derive(Debug, Deref, From)]
pub struct TransferService(Application);

impl TransferService {
    /// Begins a transfer. The banks' answers decide how it ends.
    pub async fn request(
        &self,
        order: Order,
    ) -> Result<Created<Transfer>, CommandError<BankError>> {
        self.create(|| Transfer::request(order)).await
    }
}

impl Policy<Leg> for TransferService {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Leg>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        match event.payload.clone() {
            LegEvent::Agreed { transfer, side } => {
                on_answer(transfer, side, None, event.recorded_at, work).await
            }
            LegEvent::Refused {
                transfer,
                side,
                reason,
            } => on_answer(transfer, side, Some(reason), event.recorded_at, work).await,
        }
    }
}

/// Records the answer of a bank. When the money has left the first account, the time of the second bank starts to run.
pub async fn on_answer(
    id: Id<Transfer>,
    side: Side,
    refusal: Option<String>,
    at: Timestamp,
    work: &mut UnitOfWork,
) -> Result<(), ApplicationError> {
    let transfer = work.load(id).await?;
    let Some(decision) = transfer.answer(side, refusal) else {
        return Ok(());
    };
    let is_debited = matches!(decision, TransferEvent::Debited { .. });
    transfer.record(decision);
    // The deadline counts from the time of the event, so that a policy which is behind, or repeats the event after a
    // crash, sets the same deadline. Every other decision is final, and its timer, if there is one, is not needed any more.
    match is_debited {
        true => work.schedule(at + TIMEOUT, id, &id),
        false => work.cancel(id),
    }
    Ok(())
}

impl Timers for TransferService {
    type Timer = Id<Transfer>;
    type Error = ApplicationError;

    async fn due(
        &self,
        timer: &Due<Id<Transfer>>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let transfer = work.load(timer.payload).await?;
        // An answer that was recorded before the timer fired has decided already; then there is no event to record.
        transfer.record(transfer.time_out());
        Ok(())
    }
}
