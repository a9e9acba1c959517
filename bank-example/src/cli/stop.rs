//! Signals that end the program: the command in hand ends gracefully, and a second signal ends the program at once.
//!
//! Every command listens, also those that are short: as process 1 of a container a program that does not listen ignores
//! SIGTERM and SIGINT, because the kernel then takes no action of its own.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::failure::Failure;

/// The time that a command which may have written something is given to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// The time after which a command that was asked to end is ended, unless it has another.
const ENDING_TIME_MAX: Duration = Duration::from_secs(8);

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
pub(crate) struct Stop {
    requested: watch::Receiver<Option<Signal>>,
    limit: Arc<Mutex<Limit>>,
}

/// What happens if the command in hand does not end by itself.
#[derive(Clone, Debug)]
struct Limit {
    time: Duration,
    message: String,
}

impl Stop {
    /// Begins to listen, in a thread of its own: a command may stand still in a write that nobody reads, and the runtime
    /// may have ended already. A second signal ends the process at once, and so does the end of the time that the
    /// command has.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let cannot = |error| {
            Failure::Store(format!(
                "the signals of the system cannot be listened for: {error}"
            ))
        };
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

    /// Gives the command so much time to end from the moment when it is asked to. Then the process ends with `message`.
    pub(crate) fn must_end_within(&self, time: Duration, message: &str) {
        // A panic while the lock is held cannot leave the limit half changed.
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

    /// Carries out work that may be broken off at any time.
    ///
    /// # Errors
    /// [`Failure::Interrupted`], with `message` if there is something to say besides.
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

    /// Carries out work that is better not broken off: it may take a moment longer than asked.
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
