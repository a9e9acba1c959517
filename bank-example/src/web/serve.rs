//! [`serve`]: the bank on a socket, until its shutdown.

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

/// The time that open requests get to end after the shutdown has begun. Longer than the time limit of a request.
const FAREWELL: Duration = Duration::from_secs(15);

/// The time that a client gets to send the head of its next request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after no connection could be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The reason for which the bank is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is open to others and there is no password.
    #[error(
        "{0} can be reached by others: that needs --allow-remote and a password of at least 12 characters in BANK_PASSWORD"
    )]
    Open(std::net::SocketAddr),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] std::io::Error),
    /// A follower had stopped, or a store failed.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Answers requests until `shutdown` is ready. Then no new requests are accepted, open requests are answered, and the
/// followers are stopped. No acknowledged event is lost, whenever the shutdown comes.
///
/// # Errors
/// [`ServeError::Open`]: others can reach the listener and no password is set; no request was served.
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

/// Serves clients until `stopping` is ready, and then the connected ones until they are answered.
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
                    // For example too many open files, which passes.
                    tracing::warn!(%error, "no connection accepted; retrying");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("bank stopped with open requests");
    }
}

/// Stops the followers, unless a request is still running; then they end with the process.
async fn stop(state: State) -> Result<(), ServeError> {
    match Arc::into_inner(state.bank) {
        Some(bank) => Ok(bank.stop().await?),
        None => Ok(()),
    }
}
