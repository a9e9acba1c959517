//! Runs operations at the same time, drops them midway, and never waits forever.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Fixture;

/// Waits for `future`, at most for the timeout of the fixture.
///
/// # Panics
/// The future takes longer; the message names it by `what`.
pub(super) async fn within<F: Fixture, T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(F::TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took longer than {:?}", F::TIMEOUT),
    }
}

/// The start of a race.
pub(super) enum Start {
    /// All racers start at the same moment.
    Together,
    /// Each racer starts after a random delay of less than 2 ms, so that some meet others in the middle of an operation.
    Staggered(fastrand::Rng),
}

/// Runs all `racers` at once, each as a task of its own, and returns their results in order.
pub(super) async fn race<F: Fixture, T: Send + 'static>(
    mut start: Start,
    racers: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let racers: Vec<_> = racers.into_iter().collect();
    let barrier = Arc::new(Barrier::new(racers.len()));
    let tasks = racers.into_iter().map(|racer| {
        let barrier = Arc::clone(&barrier);
        let delay = start.delay();
        tokio::spawn(async move {
            barrier.wait().await;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            racer.await
        })
    });
    finished::<F, T>(tasks.collect()).await
}

impl Start {
    fn delay(&mut self) -> Duration {
        match self {
            Self::Together => Duration::ZERO,
            Self::Staggered(rng) => Duration::from_micros(rng.u64(0..2_000)),
        }
    }
}

/// Returns the results of the tasks in order.
///
/// # Panics
/// One of the tasks panicked.
pub(super) async fn finished<F: Fixture, T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut values = Vec::with_capacity(tasks.len());
    for task in tasks {
        match within::<F, _>("a task of the test", task).await {
            Ok(value) => values.push(value),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    values
}

/// Polls `future` a random number of times and drops it, finished or not.
///
/// In half of the cases the future is polled again at once, in the others only when it is woken, for at most two milliseconds.
pub(super) async fn drop_midway<T>(future: impl Future<Output = T>, rng: &mut fastrand::Rng) {
    let polls = rng.usize(0..8);
    let eager = rng.bool();

    let polled = poll_times(future, polls, eager);
    if eager {
        polled.await;
    } else {
        let _ = timeout(Duration::from_micros(rng.u64(0..2_000)), polled).await;
    }
}

async fn poll_times<T>(future: impl Future<Output = T>, polls: usize, eager: bool) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 || future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if eager {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// Opens several stores of one place, as several processes would do.
pub(super) async fn open_many<F: Fixture>(fixture: &F, count: usize) -> Vec<Arc<F::Store>> {
    let mut stores = Vec::with_capacity(count);
    for _ in 0..count {
        stores.push(Arc::new(fixture.open().await));
    }
    stores
}
