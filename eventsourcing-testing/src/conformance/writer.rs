//! [`Writer`]: appends in many ways, for the promises about concurrent readers.

use std::time::Duration;

use eventsourcing_core::store::{
    CommandId, EventStore, Expected, NewEvent, StoreError, StreamId, Version,
};
use tokio::time::sleep;

use super::Fixture;
use super::assertions::{assert_conflict, assert_invalid, assert_tracking_conflict, version_of};
use super::builders::{
    FOLLOWER, append, event, numbered_events, other_stream, snapshot, step_from,
};
use super::concurrency::{drop_midway, within};

/// A writer of small and large appends, of refused, repeated and dropped ones.
pub(super) struct Writer<S> {
    pub(super) name: u64,
    pub(super) store: S,
    pub(super) streams: [StreamId; 3],
    pub(super) rng: fastrand::Rng,
}

impl<S: EventStore> Writer<S> {
    /// Returns the payloads of all events that were acknowledged.
    pub(super) async fn write<F: Fixture>(mut self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for round in 0..40 {
            let events = self.events(round);
            let texts: Vec<_> = events
                .iter()
                .map(|event| String::from_utf8_lossy(&event.payload).into())
                .collect();
            if self.rng.u8(0..4) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            match self.rng.u8(0..8) {
                0 => self.be_refused(events).await,
                1 => {
                    self.give_up_and_retry::<F>(events).await;
                    acknowledged.extend(texts);
                }
                _ => {
                    self.append(events).await;
                    acknowledged.extend(texts);
                }
            }
        }
        acknowledged
    }

    /// Some appends are many times larger than others, so that small ones overtake them.
    fn events(&mut self, round: usize) -> Vec<NewEvent> {
        let (count, weight) = if self.rng.u8(0..6) == 0 {
            (self.rng.usize(20..60), 1_000)
        } else {
            (1, 0)
        };
        let metadata = vec![b' '; weight];
        let texts = (0..count).map(|number| format!("{} {round} {number}", self.name));
        texts
            .map(|text| NewEvent {
                metadata: metadata.clone(),
                ..event(&text)
            })
            .collect()
    }

    async fn append(&mut self, mut events: Vec<NewEvent>) {
        let second_half = events.split_off(events.len() / 2);
        let [one, two] = self.two_streams();
        let append = append()
            .with_events(one, Expected::Any, events)
            .with_events(two, Expected::Any, second_half);
        self.store
            .append(append)
            .await
            .expect("any version is expected");
    }

    async fn be_refused(&mut self, events: Vec<NewEvent>) {
        let [one, two] = self.two_streams();
        let write = append().with_events(one.clone(), Expected::Any, events);
        let refused = match self.rng.u8(0..3) {
            0 => {
                self.store
                    .append(write.with_guard(two, Expected::Exact(Version::MAX)))
                    .await
            }
            1 => {
                self.store
                    .append(write.with_snapshot(snapshot(&one, Version::MAX.as_u64())))
                    .await
            }
            _ => {
                self.store
                    .append(write.with_tracking(step_from(5, self.store.log_id()).to(6)))
                    .await
            }
        };
        let error = refused.expect_err("it cannot be written");
        assert!(
            !matches!(
                error,
                StoreError::Unavailable { .. } | StoreError::Corrupt { .. }
            ),
            "{error:?}"
        );
    }

    async fn give_up_and_retry<F: Fixture>(&mut self, events: Vec<NewEvent>) {
        let [one, _] = self.two_streams();
        let append = append()
            .with_events(one, Expected::Any, events)
            .with_command_id(CommandId::new());
        drop_midway(self.store.append(append.clone()), &mut self.rng).await;
        within::<F, _>("a retry", self.store.append(append))
            .await
            .expect("a retry is answered");
    }

    fn two_streams(&mut self) -> [StreamId; 2] {
        let mut streams = self.streams.clone();
        self.rng.shuffle(&mut streams);
        let [one, two, _] = streams;
        [one, two]
    }
}

/// Appends that a store may refuse late, after it has reserved positions.
pub(super) async fn be_refused_in_every_way(store: &impl EventStore, stream: &StreamId) {
    let actual = version_of(store, stream).await;
    let write = || append().with_events(other_stream(), Expected::Any, numbered_events(2));
    let conflict = store
        .append(write().with_events(stream.clone(), Expected::NoStream, numbered_events(2)))
        .await;
    assert_conflict(conflict, stream, actual);
    assert_invalid(
        store
            .append(write().with_snapshot(snapshot(stream, actual.as_u64() + 1)))
            .await,
        "a snapshot beyond",
    );
    let step = step_from(40, store.log_id()).to(50);
    assert_tracking_conflict(
        store.append(write().with_tracking(step)).await,
        &FOLLOWER,
        0,
    );
}
