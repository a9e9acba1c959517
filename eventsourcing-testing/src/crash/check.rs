//! [`Acknowledged`]: compares what was acknowledged with what is stored.

use std::collections::HashMap;

use eventsourcing_core::store::{
    CommandId, FollowerStore, Position, Receipt, StoredEvent, StreamId, Version,
};

use super::writer::upstream;
use super::{Acknowledgement, Writer};
use crate::conformance::log_of;

/// All appends that were acknowledged in one place.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged(HashMap<CommandId, (Writer, Position)>);

impl Acknowledged {
    /// Returns the number of acknowledged appends.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if no append was acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that the store has every acknowledged append once, and every append whole. The store may have appends that were not
    /// acknowledged.
    ///
    /// # Panics
    /// The store differs; the message ends with `context`.
    pub async fn check(&self, store: &impl FollowerStore, context: &str) {
        let log = log_of(store).await;
        check_places(&log, context);
        let written = check_whole(&log, context);
        for (command, (_, position)) in &self.0 {
            assert_eq!(
                written.get(command),
                Some(position),
                "command {command} was acknowledged; {context}"
            );
        }
        for writer in Writer::all().filter(|writer| writer.has_follower()) {
            check_follower(store, writer, &log, context).await;
        }
        if let Some((command, (writer, position))) = self.0.iter().next() {
            check_receipt(store, *writer, *command, *position, context).await;
        }
    }
}

impl Extend<Acknowledgement> for Acknowledged {
    fn extend<I: IntoIterator<Item = Acknowledgement>>(&mut self, acknowledged: I) {
        for Acknowledgement {
            command,
            writer,
            position,
        } in acknowledged
        {
            self.0.insert(command, (writer, position));
        }
    }
}

/// Checks that the follower of a writer has the position that was written with its last append.
async fn check_follower(
    store: &impl FollowerStore,
    writer: Writer,
    log: &[StoredEvent],
    context: &str,
) {
    let stream = writer.stream();
    let appends = log.iter().filter(|event| event.stream == stream).count() as u64;
    let reached = store
        .tracking(&writer.follower(), upstream())
        .await
        .expect("a position");
    assert_eq!(
        reached,
        Position::new(appends),
        "tracking of {writer:?}; {context}"
    );
}

/// Checks that a command that is repeated gets its first receipt.
async fn check_receipt(
    store: &impl FollowerStore,
    writer: Writer,
    command: CommandId,
    position: Position,
    context: &str,
) {
    let again = store
        .append(writer.append(command, None))
        .await
        .expect("the first receipt");
    let receipt = Receipt {
        command_id: Some(command),
        ..Receipt::at(store.log_id(), position)
    };
    assert_eq!(
        (again.receipt, again.repeated),
        (receipt, true),
        "{context}"
    );
}

/// Checks that positions grow and that the versions of each stream have no holes.
fn check_places(log: &[StoredEvent], context: &str) {
    assert!(
        log.is_sorted_by(|one, next| one.position < next.position),
        "positions do not grow; {context}"
    );
    let mut versions: HashMap<&StreamId, Version> = HashMap::new();
    for event in log {
        let version = versions.entry(&event.stream).or_default();
        *version = version.next();
        assert_eq!(
            event.version, *version,
            "stream {}; {context}",
            event.stream
        );
    }
}

/// Checks that every append is there once, with all its events. Returns the position of the last event of each command.
fn check_whole(log: &[StoredEvent], context: &str) -> HashMap<CommandId, Position> {
    let mut found: HashMap<CommandId, (usize, usize, Position)> = HashMap::new();
    for event in log {
        let payload = String::from_utf8(event.payload.clone()).expect("text");
        let (command, events) = payload.split_once(' ').expect("a command and a count");
        let command = CommandId::from_uuid(command.parse().expect("a command"));
        let events = events.parse().expect("a count");
        let (seen, _, last) = found.entry(command).or_insert((0, events, event.position));
        *seen += 1;
        *last = event.position;
    }
    for (command, (seen, events, _)) in &found {
        assert_eq!(seen, events, "events of command {command}; {context}");
    }
    found
        .into_iter()
        .map(|(command, (_, _, last))| (command, last))
        .collect()
}
