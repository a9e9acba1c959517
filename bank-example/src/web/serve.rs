//! [`serve`]: the bank on a socket, until it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use eventsourcing::{RunningSystem, SystemError};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use super::{Settings, State, router};
use crate::system::EventSourcedBank;

/// How long open requests may take to end once it is told to stop; longer than any request may take at all.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long a client may take to send the head of its next request, before it is cut off.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How soon it is tried again when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the bank is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is open to others and there is no password.
    #[error(
        "{0} can be reached by others: that takes --allow-remote and a password of at least 12 characters in BANK_PASSWORD"
    )]
    Open(std::net::SocketAddr),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] std::io::Error),
    /// A follower had stopped, or a store failed.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Answers requests until `shutdown` is ready. Then open requests are answered, no new ones taken, and the followers
/// stopped. Nothing acknowledged is lost, whenever it ends.
///
/// # Errors
/// [`ServeError::Open`]: others can reach the listener and no password is set; nobody was served.
/// [`ServeError::Socket`], [`ServeError::System`].
pub async fn serve(
    bank: RunningSystem<EventSourcedBank>,
    listener: TcpListener,
    settings: &Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !settings.may_listen_on(address) {
        bank.stop().await?;
        return Err(ServeError::Open(address));
    }
    let state = State::new(Arc::new(bank));
    let live = state.live.clone();
    let stopping = async {
        shutdown.await;
        live.stop();
    };
    accept(listener, router(state.clone(), settings), stopping).await;
    stop(state).await
}

/// Serves whoever connects until `stopping` is ready, and then those who are connected until they are answered.
async fn accept(listener: TcpListener, router: Router, stopping: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX);
    tokio::pin!(stopping);
    loop {
        let socket = tokio::select! {
            () = &mut stopping => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Such as too many open files: it passes.
                    tracing::warn!(%error, "nobody can connect");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection has ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still open when the bank stopped");
    }
}

/// Stops the followers, unless a request is still at work; then they end with the process.
async fn stop(state: State) -> Result<(), ServeError> {
    match Arc::into_inner(state.bank) {
        Some(bank) => Ok(bank.stop().await?),
        None => Ok(()),
    }
}
