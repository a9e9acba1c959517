//! Rebuilds a read model and shows the progress.

use std::time::Duration;

use bank_example::system::EventSourcedBank;
use eventsourcing::system::{Rebuild, RebuildState};
use eventsourcing::{ProjectionName, RunningSystem, SystemError};
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::stop::Stop;
use super::{console, progress};

/// The interval at which the bar is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(
    bank: &RunningSystem<EventSourcedBank>,
    name: &str,
    stop: &Stop,
) -> Result<Output, Failure> {
    let projection = ProjectionName::find(name)?;
    let build = bank
        .rebuild(projection)
        .await
        .map_err(|error| match error {
            SystemError::Invalid { reason } => Failure::Usage(reason),
            error => error.into(),
        })?;
    tokio::select! {
        biased;
        signal = stop.requested() => {
            let position = build.progress().position;
            let reason = format!("at position {position}; the next command continues to rebuild {name}");
            return Err(Failure::Interrupted(signal, reason));
        }
        shown = show(&build) => shown?,
    }
    let position = build.progress().position;
    let text = format!("{name} is rebuilt, up to position {position}, and live");
    Ok(Output::new(
        text,
        json!({ "name": name, "position": position }),
    ))
}

async fn show(build: &Rebuild) -> Result<(), Failure> {
    let name = build.name();
    let how = "Ctrl-C interrupts it; the next command continues where it stopped";
    // On standard error, whether that is a terminal or not.
    console::line(&format!("rebuilding {name}; {how}"));
    let bar = progress::bar(build.name().as_str());
    while let RebuildState::Building = build.progress().state {
        let now = build.progress();
        bar.set_length(now.head);
        bar.set_position(now.position);
        bar.set_message(progress::pace(now.rate, now.remaining));
        let _ = tokio::time::timeout(DRAW_INTERVAL, build.finished()).await;
    }
    bar.finish_and_clear();
    Ok(build.finished().await?)
}
