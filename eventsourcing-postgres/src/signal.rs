//! The line between the processes that use one log: LISTEN and NOTIFY on a connection of their own.
//!
//! A NOTIFY inside an append's transaction would queue all appends of the database up behind one lock, at their commit.
//! So it is sent afterwards, by this connection, one at a time: commits that happen meanwhile share the next. It carries
//! the position of the last event written, for humans who listen; readers take it as a hint and look for themselves.
//! While the line is down readers poll.

use std::time::Duration;

use eventsourcing_core::store::{LogId, Position, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::{translate, unavailable};
use crate::notify::Hints;
use crate::session::{Connection, Sessions};

const LISTEN: &str = include_str!("queries/listen.sql");
const NOTIFY: &str = include_str!("queries/notify.sql");

/// Every listening process wakes up at a notification, so there are not more than these.
const NOTIFY_INTERVAL_MIN: Duration = Duration::from_millis(5);
/// How long a lost line is left alone at first, and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A line that goes down when this is dropped.
pub(crate) struct Signal(JoinHandle<()>);

impl Signal {
    pub(crate) fn start(
        sessions: Sessions,
        log_id: LogId,
        written: watch::Receiver<Position>,
        hints: Hints,
    ) -> Self {
        let sessions = sessions.relaxed();
        // An identifier made of hexadecimal digits; it needs no quoting.
        let channel = format!("eventsourcing_{}", log_id.as_uuid().simple());
        Self(tokio::spawn(
            Line {
                sessions,
                channel,
                written,
                hints,
            }
            .keep_up(),
        ))
    }

    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Line {
    sessions: Sessions,
    channel: String,
    written: watch::Receiver<Position>,
    hints: Hints,
}

impl Line {
    async fn keep_up(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            match self.connect().await {
                Ok(client) => {
                    pause = RETRY_MIN;
                    // What was notified while the line was down is not heard any more.
                    self.hints.send_replace(());
                    if let Err(error) = self.notify_until_lost(&client).await {
                        tracing::debug!(%error, "the line between processes was lost; polling until it is back");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no line between processes; polling until it is there")
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// A connection that listens, with the statement that notifies prepared.
    async fn connect(&self) -> Result<Connection, StoreError> {
        let hints = self.hints.clone();
        let client = self.sessions.open(move |_| hints.send_replace(())).await?;
        self.answered(client.prepare_cached(NOTIFY)).await?;
        let listen = LISTEN.replace("{channel}", &self.channel);
        self.answered(client.batch_execute(&listen)).await?;
        Ok(client)
    }

    async fn notify_until_lost(&mut self, client: &Connection) -> Result<(), StoreError> {
        let statement = self.answered(client.prepare_cached(NOTIFY)).await?;
        loop {
            tokio::select! {
                () = client_closed(client) => return Ok(()),
                changed = self.written.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            let head = self.written.borrow_and_update().to_string();
            self.answered(client.query(&statement, &[&self.channel, &head]))
                .await?;
            sleep(NOTIFY_INTERVAL_MIN).await;
        }
    }

    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.sessions.patience, answer).await {
            Ok(answer) => answer.map_err(|error| translate(&self.sessions.place, error)),
            Err(_) => Err(unavailable(
                &self.sessions.place,
                "the server has not answered in time",
            )),
        }
    }
}

/// Listening needs no statement that could fail, so whether the line still stands is looked at now and then.
async fn client_closed(client: &Connection) {
    while !client.is_closed() {
        sleep(Duration::from_millis(250)).await;
    }
}
