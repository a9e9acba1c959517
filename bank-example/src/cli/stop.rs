//! Signals that end the program: the command in hand ends gracefully, and a second signal ends the program at once.
//!
//! Every command listens, also those that are short: as process 1 of a container a program that does not listen ignores
//! SIGTERM and SIGINT, because the kernel then takes no action of its own.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;

use super::failure::Failure;

/// The time that a command which may have written something is given to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// A signal that asks the program to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    /// By a person, with Ctrl-C.
    Interrupt,
    /// By the system, a service manager or a container runtime.
    Terminate,
}

impl Signal {
    /// The signal's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a program that the signal has ended: 128 and the signal's number, as shells have it.
    fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl From<Signal> for ExitCode {
    fn from(signal: Signal) -> Self {
        Self::from(signal.code())
    }
}

/// Tells whether the program was asked to end. Clones are told alike.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Begins to listen. A second signal ends the process at once, with the signal's exit code.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let (sender, receiver) = watch::channel(None);
        let cannot = |error| Failure::Store(format!("the signals of the system cannot be listened for: {error}"));
        let mut signals = Signals::new().map_err(cannot)?;
        tokio::spawn(async move {
            sender.send_replace(Some(signals.next().await));
            std::process::exit(signals.next().await.code().into());
        });
        Ok(Self(receiver))
    }

    /// Waits until the program is asked to end.
    pub(crate) async fn requested(&self) -> Signal {
        let mut receiver = self.0.clone();
        let signal = receiver.wait_for(Option::is_some).await.map(|signal| *signal);
        match signal {
            Ok(Some(signal)) => signal,
            // The listener lives as long as the runtime does.
            _ => std::future::pending().await,
        }
    }

    /// Carries out work that may be broken off at any time.
    ///
    /// # Errors
    /// [`Failure::Interrupted`], with `message` if there is something to say besides.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>, message: &str) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            signal = self.requested() => Err(Failure::Interrupted(signal, message.to_owned())),
        }
    }

    /// Carries out work that is better not broken off: it may take a moment longer than asked.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] with `message`.
    pub(crate) async fn or_late<T>(&self, work: impl Future<Output = T>, message: &str) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            signal = self.requested_a_while_ago() => Err(Failure::Interrupted(signal, message.to_owned())),
        }
    }

    async fn requested_a_while_ago(&self) -> Signal {
        let signal = self.requested().await;
        tokio::time::sleep(GRACE).await;
        signal
    }
}

/// The signals as the system sends them.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}
