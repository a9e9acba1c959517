//! Events as they are recorded, one a line, until the program is interrupted or nobody reads any more.

use std::io::Write as _;
use std::sync::Arc;

use eventsourcing_core::Subscription;
use eventsourcing_core::store::{EventStore, LogQuery, Position};

use super::failure::Failure;
use super::output;

pub(crate) async fn run(store: Arc<dyn EventStore>, after: Option<Position>, json: bool) -> Result<String, Failure> {
    let after = match after {
        Some(after) => after,
        None => store.head().await?,
    };
    let mut events = Subscription::new(store, LogQuery::after(after));
    while let Some(event) = events.next().await {
        let line = output::log_line(&event?, json)?;
        let mut stdout = std::io::stdout().lock();
        if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
            break;
        }
    }
    Ok(String::new())
}
