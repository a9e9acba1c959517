//! Lets a follower continue in a log that was restored to an earlier moment.

use std::time::Duration;

use bank_example::system::EventSourcedBank;
use eventsourcing::store::Position;
use eventsourcing::system::AcceptedLog;
use eventsourcing::{RunningSystem, SystemError};
use serde_json::json;

use super::failure::Failure;
use super::output::Output;

/// The time that the follower gets to process new events.
const TIME_TO_SETTLE: Duration = Duration::from_secs(5);

pub(super) async fn accept(
    bank: &RunningSystem<EventSourcedBank>,
    follower: &str,
    kept: Position,
) -> Result<Output, Failure> {
    let accepted = bank
        .accept_restored_log(bank.find_follower(follower)?, kept)
        .await
        .map_err(|error| match error {
            SystemError::Invalid { reason } => Failure::Usage(reason),
            error => error.into(),
        })?;
    // Other followers may have stopped for the same reason and wait for the same command, so the outcome of the wait is
    // ignored.
    let _ = tokio::time::timeout(TIME_TO_SETTLE, bank.wait_until_caught_up()).await;
    Ok(shown(follower, &accepted))
}

fn shown(follower: &str, accepted: &[AcceptedLog]) -> Output {
    let text = match accepted {
        [] => {
            format!("{follower} has processed no event that its log has lost; nothing was changed")
        }
        accepted => accepted
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let json = accepted.iter().map(|accepted| {
        json!({
            "follower": accepted.follower,
            "from": accepted.from,
            "to": accepted.to,
            "events": accepted.events,
        })
    });
    Output::new(text, json.collect())
}
