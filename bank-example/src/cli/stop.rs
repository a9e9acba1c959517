//! Signals that end the program: the current command ends gracefully, and a second signal ends the program at once.
//!
//! Every command listens, also the short ones: as process 1 of a container, a program that does not listen ignores
//! SIGTERM and SIGINT, because the kernel then takes no action of its own.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::failure::Failure;

/// The time that a command which may have written something gets to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// The time after which a command that was asked to end is ended, unless it has set another time.
const ENDING_TIME_MAX: Duration = Duration::from_secs(8);

/// A signal that asks the program to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    /// Sent by a person, with Ctrl-C.
    Interrupt,
    /// Sent by the system, a service manager or a container runtime.
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

/// Says whether the program was asked to end. Clones share the same state.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    requested: watch::Receiver<Option<Signal>>,
    limit: Arc<Mutex<Limit>>,
}

/// The time limit of the current command, and the message if the command exceeds it.
#[derive(Clone, Debug)]
struct Limit {
    time: Duration,
    message: String,
}

impl Stop {
    /// Begins to listen, in a thread of its own: a command may be blocked in a write that is not read, and the runtime
    /// may have ended already. A second signal ends the process at once, and so does the end of the command's time.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let cannot =
            |error| Failure::Store(format!("the signal handlers cannot be installed: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let mut signals = {
            let _within = runtime.enter();
            Signals::new().map_err(cannot)?
        };
        let (sender, requested) = watch::channel(None);
        let limit = Arc::new(Mutex::new(Limit {
            time: ENDING_TIME_MAX,
            message: String::new(),
        }));
        let stop = Self { requested, limit };
        let limits = stop.clone();
        let listening = move || {
            runtime.block_on(async {
                let first = signals.next().await;
                let Limit { time, message } = limits.limit();
                sender.send_replace(Some(first));
                let code = tokio::select! {
                    second = signals.next() => second.code(),
                    () = tokio::time::sleep(time) => {
                        Failure::Interrupted(first, message).report();
                        first.code()
                    }
                };
                std::process::exit(code.into());
            });
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listening)
            .map_err(cannot)?;
        Ok(stop)
    }

    /// Limits the time that the command has to end after it was asked to. When the time is over the process ends with
    /// `message`.
    pub(crate) fn must_end_within(&self, time: Duration, message: &str) {
        // The limit is replaced as a whole, so a panic while the lock is held cannot leave it half changed.
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = Limit {
            time,
            message: message.to_owned(),
        };
    }

    fn limit(&self) -> Limit {
        self.limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until the program is asked to end.
    pub(crate) async fn requested(&self) -> Signal {
        let mut receiver = self.requested.clone();
        let signal = receiver
            .wait_for(Option::is_some)
            .await
            .map(|signal| *signal);
        match signal {
            Ok(Some(signal)) => signal,
            // The listener lives as long as the runtime does.
            _ => std::future::pending().await,
        }
    }

    /// Runs work that can be cancelled at any time.
    ///
    /// # Errors
    /// [`Failure::Interrupted`], with `message` if it is not empty.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = T>,
        message: &str,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            signal = self.requested() => Err(Failure::Interrupted(signal, message.to_owned())),
        }
    }

    /// Runs work that should not be cancelled at once: after the signal it gets a moment longer.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] with `message`.
    pub(crate) async fn or_late<T>(
        &self,
        work: impl Future<Output = T>,
        message: &str,
    ) -> Result<T, Failure> {
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

/// The signals of the operating system.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
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
