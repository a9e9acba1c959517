//! Log lines for operators: retries, and followers that stop.
#![allow(clippy::unwrap_used)]

mod domain;

use std::io::Write;
use std::sync::{Arc, Mutex};

use domain::{FAILS_ON, JarEvent, Pantry};
use eventsourcing_core::store::{CommandId, MemoryStore};
use eventsourcing_core::{Application, RetryPolicy, Runner};
use eventsourcing_testing::{Fault, FaultyStore, Operation};
use tracing::subscriber::DefaultGuard;

/// A recorder of all log lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn listen(&self) -> DefaultGuard {
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("debug")
            .with_ansi(false);
        tracing::subscriber::set_default(subscriber.with_writer(move || lines.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn retries_are_visible() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let app = Application::new("jars", store.clone()).with_retry(RetryPolicy {
        attempts_max: 2,
        ..RetryPolicy::default()
    });
    let id = app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap()
        .id;
    store.fail_next(Operation::Append, Fault::Conflict);
    app.update(id, |jar| jar.add(1)).await.unwrap();
    assert!(
        lines.text().contains("DEBUG")
            && lines
                .text()
                .contains("retry: attempt failed what=\"command\" attempt=1"),
        "{}",
        lines.text()
    );
    store.fail_next(Operation::Append, Fault::Unavailable);
    app.with_retry(RetryPolicy::once())
        .command(CommandId::new())
        .update(id, |jar| jar.add(1))
        .await
        .unwrap_err();
    assert!(
        lines.text().contains("WARN")
            && lines
                .text()
                .contains("retry: giving up what=\"append\" attempts=1"),
        "{}",
        lines.text()
    );
}

#[tokio::test]
async fn a_follower_that_stops_is_an_error() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let pantry = Pantry::start(MemoryStore::new(), Runner::concurrent())
        .await
        .unwrap();
    let bad = pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans: FAILS_ON });
    bad.await.expect("the save itself does not fail");
    pantry.wait_until_caught_up().await.unwrap_err();
    let text = lines.text();
    assert!(
        text.contains("ERROR") && text.contains("follower stopped follower=shelves position=1"),
        "{text}"
    );
    assert!(text.contains("666 beans are too many"), "{text}");
}
