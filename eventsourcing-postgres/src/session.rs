//! One connection, with all that each part of the store needs: encrypted as requested, monitored for dead peers, and
//! with the settings of `queries/session.sql`, or of `session_of_database.sql` for statements of read models.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::sql::TRANSACTION_IDLE_MAX;
use eventsourcing_core::store::{Durability, Epoch, StoreError};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Config, Error, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Address, Endpoint};
use crate::config::PostgresOptions;
use crate::epochs::Epochs;
use crate::error::{translate, unavailable};
use crate::sqlstate::POOLER;
use crate::tls;

const SESSION: &str = include_str!("queries/session.sql");
const SESSION_OF_DATABASE: &str = include_str!("queries/session_of_database.sql");
const WAIT_FOR_STANDBYS: &str = include_str!("queries/wait_for_standbys.sql");

/// The function of the server that warns when the wait of a commit is cancelled. The text of a warning is translated,
/// the name of its function is not.
const WAIT_OF_COMMITS: &str = "SyncRepWaitForLSN";

/// The time for which this process waits for an answer after the server's own time limit.
const GRACE: Duration = Duration::from_secs(2);
/// The time of silence after which a keepalive is sent, and the interval between keepalives.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The number of unanswered keepalives after which a connection is lost.
const KEEPALIVES_MISSED_MAX: u32 = 3;

/// Makes connections with the same settings.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) config: Config,
    pub(crate) endpoint: Endpoint,
    pub(crate) epochs: Epochs,
    /// The time limit for one answer.
    pub(crate) answer_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    tls: MakeRustlsConnect,
    pub(crate) schema: String,
    synchronous_commit: &'static str,
    statement_timeout: String,
    idle_timeout: String,
    settings: &'static str,
}

impl Sessions {
    pub(crate) fn new(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        options.check_schema()?;
        let address = Address::parse(url, &options.schema, defaults(options))?;
        let tls = tls::connector(&address.tls)?;
        let mut config = address.config;
        // A replica does not show the locks of its primary, so a log read there would have holes.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("eventsourcing");
        }
        let connect_timeout = config
            .get_connect_timeout()
            .copied()
            .unwrap_or(options.connect_timeout);
        let statement_timeout = options.statement_timeout.as_millis().to_string();
        Ok(Self {
            config,
            epochs: Epochs::new(address.endpoint.clone()),
            endpoint: address.endpoint,
            answer_timeout: options.statement_timeout + GRACE,
            connect_timeout,
            tls,
            schema: options.schema.clone(),
            synchronous_commit: match options.durability {
                Durability::Full => "on",
                Durability::Normal => "off",
            },
            idle_timeout: statement_timeout.clone(),
            statement_timeout,
            settings: SESSION,
        })
    }

    /// Returns the same settings for connections that write nothing worth a flush.
    pub(crate) fn relaxed(mut self) -> Self {
        self.synchronous_commit = "off";
        self
    }

    /// Returns the same settings for statements that are not the store's own.
    pub(crate) fn for_read_models(mut self) -> Self {
        self.settings = SESSION_OF_DATABASE;
        self.idle_timeout = TRANSACTION_IDLE_MAX.as_millis().to_string();
        self
    }

    /// Makes a connection within the time limit for connecting.
    pub(crate) async fn open(
        &self,
        on_notify: impl FnMut(Notification) + Send + 'static,
    ) -> Result<Connection, StoreError> {
        match timeout(self.connect_timeout, self.start(on_notify)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(translate(&self.endpoint, error)),
            Err(_) => Err(unavailable(
                &self.endpoint,
                "connecting took longer than the connect timeout",
            )),
        }
    }

    /// Checks that `client`, which has been idle so far, has a connection of the server to itself.
    ///
    /// A pooler in statement or transaction mode gives the same connection to two clients that ask one after the other,
    /// although neither has left: then the same server process answers both. A busy pooler may pass this check; the
    /// errors of statements report it then.
    pub(crate) async fn refuse_shared_connections(
        &self,
        client: &ClientWrapper,
    ) -> Result<(), StoreError> {
        let other = self.open(|_| {}).await?;
        let asked = async { Ok::<_, Error>((process(client).await?, process(&other).await?)) };
        match timeout(self.answer_timeout, asked).await {
            Ok(Ok((one, another))) if one == another => Err(StoreError::Invalid {
                reason: format!("{}: {POOLER}", self.endpoint),
            }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(translate(&self.endpoint, error)),
            Err(_) => Err(unavailable(
                &self.endpoint,
                "the server has not answered in time",
            )),
        }
    }

    /// Makes a connection. The settings and the check of the epoch share a round trip.
    pub(crate) async fn start(
        &self,
        mut on_notify: impl FnMut(Notification) + Send + 'static,
    ) -> Result<Connection, Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let endpoint = self.endpoint.clone();
        let is_wait_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&is_wait_cancelled);
        let task = AbortOnDrop(Some(tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => on_notify(notification),
                    // The notice is processed before the answer that it belongs to arrives.
                    Ok(AsyncMessage::Notice(notice))
                        if notice.routine() == Some(WAIT_OF_COMMITS) =>
                    {
                        cancelled.store(true, Ordering::Release);
                    }
                    Ok(_) => {}
                    // Dropping the connection fails every request that waits for an answer.
                    Err(error) => {
                        return tracing::debug!(%endpoint, %error, "connection to the server lost");
                    }
                }
            }
        })));
        let settings = [
            (&self.schema as _, Type::TEXT),
            (&self.synchronous_commit as _, Type::TEXT),
            (&self.statement_timeout as _, Type::TEXT),
            (&self.idle_timeout as _, Type::TEXT),
        ];
        let (_, epoch) = tokio::try_join! {
            biased;
            client.query_typed(self.settings, &settings),
            self.epochs.admit(&client),
        }?;
        Ok(Connection {
            client: ClientWrapper::new(client, task.keep()),
            epoch,
            endpoint: self.endpoint.clone(),
            is_wait_cancelled,
        })
    }
}

/// Returns the server process that answers, without a prepared statement, which a pooler might lose.
async fn process(client: &ClientWrapper) -> Result<i32, Error> {
    let rows = client.query_typed("SELECT pg_backend_pid()", &[]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

/// Returns the settings that apply unless the connection string sets others.
fn defaults(options: &PostgresOptions) -> Config {
    let mut config = Config::new();
    config.connect_timeout(options.connect_timeout);
    config
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .keepalives_retries(KEEPALIVES_MISSED_MAX);
    config.tcp_user_timeout(KEEPALIVE * KEEPALIVES_MISSED_MAX);
    config
}

/// A connection, and the epoch in which it was made: all answers on it are of that epoch.
pub(crate) struct Connection {
    client: ClientWrapper,
    pub(crate) epoch: Epoch,
    endpoint: Endpoint,
    /// `true` after the server has confirmed a commit that the synchronous standbys may lack.
    is_wait_cancelled: Arc<AtomicBool>,
}

impl Connection {
    /// Returns when the synchronous standbys have the commits of this connection. That is at once, unless the wait of a
    /// commit was cancelled (`pg_cancel_backend`): then the server confirms the commit with only a warning, while one
    /// machine has it. So this waits for the standbys again.
    ///
    /// # Errors
    /// The commit has happened, but it is unknown whether the standbys have it.
    pub(crate) async fn replicated(&self, answer_timeout: Duration) -> Result<(), StoreError> {
        if !self.is_wait_cancelled.load(Ordering::Acquire) {
            return Ok(());
        }
        match timeout(answer_timeout, self.wait_again()).await {
            Ok(waited) => waited.map_err(|error| translate(&self.endpoint, error).at_commit()),
            Err(_) => Err(unavailable(
                &self.endpoint,
                "the synchronous standbys have not answered in time",
            )),
        }
    }

    async fn wait_again(&self) -> Result<(), Error> {
        while self.is_wait_cancelled.swap(false, Ordering::Acquire) {
            let statement = self.client.prepare_cached(WAIT_FOR_STANDBYS).await?;
            self.client.query_one(&statement, &[]).await?;
        }
        Ok(())
    }
}

impl Deref for Connection {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

/// Ends the task of a connection whose settings failed, or whose caller has gone.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().expect("it is taken once")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
