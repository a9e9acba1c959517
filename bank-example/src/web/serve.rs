//! [`serve`]: the bank on a socket, until it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::{Running, SystemError};
use tokio::net::TcpListener;

use super::{Settings, State, router};
use crate::system::EventSourcedBank;

/// How long open requests may take to end once it is told to stop; longer than any request may take at all.
const FAREWELL: Duration = Duration::from_secs(15);

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
    bank: Running<EventSourcedBank>,
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
    let (told, is_told) = tokio::sync::oneshot::channel();
    let stopping = {
        let live = state.live.clone();
        async move {
            shutdown.await;
            live.stop();
            let _ = told.send(());
        }
    };
    let server = axum::serve(listener, router(state.clone(), settings)).with_graceful_shutdown(stopping);
    let too_late = async {
        let _ = is_told.await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = server.into_future() => served?,
        () = too_late => tracing::warn!("requests were still open when the bank stopped"),
    }
    stop(state).await
}

/// Stops the followers, unless a request is still at work; then they end with the process.
async fn stop(state: State) -> Result<(), ServeError> {
    match Arc::into_inner(state.bank) {
        Some(bank) => Ok(bank.stop().await?),
        None => Ok(()),
    }
}
