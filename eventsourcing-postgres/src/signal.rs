//! The connection that links the processes of one log: it runs LISTEN and NOTIFY.
//!
//! A NOTIFY inside the transaction of an append would serialise the commits of all appends of the database behind one
//! lock. So this connection sends it after the commit, one at a time: commits that happen meanwhile share the next one.
//! It carries the position of the last event written, for people who listen; readers take it as a wake-up and read the
//! log. While this connection is lost readers poll.

use std::time::Duration;

use eventsourcing_core::store::{LogId, Position, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::{translate, unavailable};
use crate::notify::Wakeups;
use crate::session::{Connection, Sessions};

const LISTEN: &str = include_str!("queries/listen.sql");
const NOTIFY: &str = include_str!("queries/notify.sql");

/// The shortest interval between two notifications. Each one wakes every listening process.
const NOTIFY_INTERVAL_MIN: Duration = Duration::from_millis(5);
/// The shortest and the longest pause before a lost connection is made again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The task of the connection. It ends when this is dropped.
pub(crate) struct Signal(JoinHandle<()>);

impl Signal {
    pub(crate) fn start(
        sessions: Sessions,
        log_id: LogId,
        written: watch::Receiver<Position>,
        wakeups: Wakeups,
    ) -> Self {
        let sessions = sessions.relaxed();
        // The name consists of hexadecimal digits, so it needs no quoting.
        let channel = format!("eventsourcing_{}", log_id.as_uuid().simple());
        Self(tokio::spawn(
            ListenConnection {
                sessions,
                channel,
                written,
                wakeups,
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

struct ListenConnection {
    sessions: Sessions,
    channel: String,
    written: watch::Receiver<Position>,
    wakeups: Wakeups,
}

impl ListenConnection {
    async fn keep_up(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            match self.connect().await {
                Ok(client) => {
                    pause = RETRY_MIN;
                    // Notifications during the interruption are lost, so every waiter looks once.
                    self.wakeups.send_replace(());
                    if let Err(error) = self.notify_until_lost(&client).await {
                        tracing::debug!(%error, "LISTEN connection lost; polling until it is back");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "LISTEN connection failed; polling until it succeeds");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Makes a connection that listens, with the notifying statement prepared.
    async fn connect(&self) -> Result<Connection, StoreError> {
        let wakeups = self.wakeups.clone();
        let client = self
            .sessions
            .open(move |_| wakeups.send_replace(()))
            .await?;
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
        match timeout(self.sessions.answer_timeout, answer).await {
            Ok(answer) => answer.map_err(|error| translate(&self.sessions.endpoint, error)),
            Err(_) => Err(unavailable(
                &self.sessions.endpoint,
                "the server has not answered in time",
            )),
        }
    }
}

/// Returns when the connection is lost. Listening sends no statement that could fail, so the state of the connection is
/// polled.
async fn client_closed(client: &Connection) {
    while !client.is_closed() {
        sleep(Duration::from_millis(250)).await;
    }
}
