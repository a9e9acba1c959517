//! Prints events as they are recorded, one per line, until the program is interrupted or its reader is gone.

use std::io::ErrorKind;
use std::sync::Arc;

use eventsourcing::Subscription;
use eventsourcing::store::{EventStore, FollowerStore, LogQuery, Position};

use super::failure::Failure;
use super::stop::Stop;
use super::{console, output};

/// Ends successfully when a signal arrives, and when the reader closes the pipe.
pub(crate) async fn run(
    store: Arc<dyn FollowerStore>,
    after: Option<Position>,
    json: bool,
    stop: &Stop,
) -> Result<(), Failure> {
    tokio::select! {
        _ = stop.requested() => Ok(()),
        shown = show(store, after, json) => shown,
    }
}

async fn show(
    store: Arc<dyn FollowerStore>,
    after: Option<Position>,
    json: bool,
) -> Result<(), Failure> {
    let after = match after {
        Some(after) => after,
        None => store.head().await?,
    };
    let mut events = Subscription::new(store, LogQuery::after(after));
    while let Some(event) = events.next().await {
        let line = output::log_line(&event?, json)?;
        // In a thread of its own: while the reader does not read, the program can still receive a signal.
        let written =
            tokio::task::spawn_blocking(move || console::answer(&format!("{line}\n"))).await;
        match written.map_err(std::io::Error::other).flatten() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Failure::unwritten(&error)),
            Ok(()) => {}
        }
    }
    Ok(())
}
