//! Agreement on the events that a follower takes, between its declaration, the recorded set, and
//! other releases.

use tracing::info;

use super::EVENTS_PER_PAGE_MAX;
use super::cursor::Cursor;
use super::cuts::agree_on_cut;
use super::failure::{StepFailure, describe};
use super::followed_events::{EventNames, RecordedEvents, describe_events};
use super::status::Step;
use super::worker::FollowerWorker;
use crate::store::{FollowerStore, LogQuery, NotesQuery, Position, StoreError, StoredEvent};
use crate::system::{SystemError, notes};

/// The error of a process whose release does not know all events of the recorded set.
#[derive(Debug, thiserror::Error)]
#[error(
    "another release of the program has recorded that the follower takes {events}, which this release does not know; it continues in a \
     process of that release. If that release was rolled back, call builder(…).changed_followers([{follower:?}])"
)]
pub(super) struct TakesUnknownEvents {
    follower: String,
    events: String,
}

impl<S> FollowerWorker<S> {
    /// Compares the events that the follower takes with the recorded set. Earlier releases of the
    /// framework recorded none; then the present set counts as the one that the follower has always
    /// taken.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the sets differ, there are such events before its position, and
    /// `is_confirmed` does not confirm that.
    pub(crate) async fn check_events(&self, is_confirmed: bool) -> Result<(), SystemError> {
        if !self.is_shared() || self.is_observer() || is_confirmed {
            return Ok(());
        }
        let cursor = self.cursor.lock().await;
        match &cursor.recorded {
            Some(recorded) => self.next_record(recorded, cursor.reached).await.map(drop),
            None => Ok(()),
        }
    }

    /// Records the number of partitions of the follower and the events it takes, after all checks
    /// of the start have passed.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: another process has recorded other values meanwhile.
    pub(crate) async fn agree(&self, is_confirmed: bool) -> Result<(), SystemError> {
        if !self.is_shared() || self.is_observer() {
            return Ok(());
        }
        if let Some(cut) = &self.cut {
            let (home, _, upstream) = self.home();
            agree_on_cut(&**home, upstream, cut).await?;
        }
        self.agree_on_events(is_confirmed).await
    }

    async fn agree_on_events(&self, is_confirmed: bool) -> Result<(), SystemError> {
        loop {
            let mut cursor = self.cursor.lock().await;
            let next = match &cursor.recorded {
                Some(recorded) if !is_confirmed => {
                    self.next_record(recorded, cursor.reached).await?
                }
                _ => self.followed.record(),
            };
            if cursor.recorded.as_ref() == Some(&next) {
                return Ok(());
            }
            match self.record_events(&mut cursor, next).await {
                Ok(()) => return Ok(()),
                // Another process was faster. It may have recorded another set, so the comparison
                // starts over.
                Err(StepFailure::Moved | StepFailure::LeaseLost) => {
                    self.refresh(&mut cursor).await?;
                }
                Err(StepFailure::Unavailable(error) | StepFailure::CutChanged(error)) => {
                    return Err(error.into());
                }
                Err(StepFailure::Event(cause)) => {
                    return Err(StoreError::unavailable(
                        "the store refused a step of the follower",
                        cause,
                    )
                    .into());
                }
            }
        }
    }

    async fn record_events(
        &self,
        cursor: &mut Cursor,
        record: RecordedEvents,
    ) -> Result<(), StepFailure> {
        let mut step = cursor.notes_step();
        let note = serde_json::to_string(&record).expect("names are JSON");
        step.tracking = step.tracking.with_note(notes::EVENTS, note);
        self.sink.make_step(step.tracking.clone()).await?;
        cursor.done(step);
        info!(follower = %self.name, position = %cursor.reached, "recorded the events that the follower takes");
        cursor.take_note_of(Some(record), &self.followed);
        Ok(())
    }

    /// Returns the record that replaces `recorded`, if the log has no event before `position` about
    /// which the two differ.
    async fn next_record(
        &self,
        recorded: &RecordedEvents,
        position: Position,
    ) -> Result<RecordedEvents, SystemError> {
        if self.followed.has_other_tables_than(recorded) {
            let reason = format!(
                "the read model {name} has other TABLES than those it was built with, in the same VERSION; raise the VERSION \
                 to have it rebuilt",
                name = self.name
            );
            return Err(SystemError::Invalid { reason });
        }
        let change = self.followed.change_from(recorded);
        match self.first_of(&change.all(), position).await? {
            None => Ok(self.followed.record_over(recorded, &change.dropped)),
            Some(event) => Err(self.refusal(&change.added, &change.dropped, &event)),
        }
    }

    /// Describes the first event up to `position` that is one of these.
    async fn first_of(
        &self,
        events: &EventNames,
        position: Position,
    ) -> Result<Option<String>, StoreError> {
        let mut after = Position::ZERO;
        while !events.is_empty() && after < position {
            let page = self.of_partition(
                self.upstream
                    .read_log(query_for(events, after, position))
                    .await?,
            );
            if let Some(event) = page.events.iter().find(|event| is_one_of(events, event)) {
                return Ok((event.position <= position)
                    .then(|| format!("{} at position {}", describe(event), event.position)));
            }
            after = page.ceiling;
        }
        Ok(None)
    }

    fn refusal(&self, added: &EventNames, dropped: &EventNames, event: &str) -> SystemError {
        let mut changes = Vec::new();
        if !added.is_empty() {
            changes.push(format!("also takes: {}", describe_events(added)));
        }
        if !dropped.is_empty() {
            changes.push(format!("no longer takes: {}", describe_events(dropped)));
        }
        let what_to_do = match self.followed.is_of_read_model() {
            true => "raise its VERSION to have it rebuilt".to_owned(),
            false => format!(
                "declare the events that it took before; or have a follower of another name take the additional ones, which \
                 begins at the first event; or, if what is before its position may stay as it is, confirm the change: \
                 builder(…).changed_followers([{name:?}])",
                name = self.name.as_str()
            ),
        };
        let reason = format!(
            "follower {name} takes other events than it has taken up to now ({changes}), and there are such events before its \
             position, such as {event}; {what_to_do}",
            name = self.name,
            changes = changes.join("; "),
        );
        SystemError::Invalid { reason }
    }

    /// Reloads the cursor if another process has made a step since this one loaded it. A release
    /// that takes events which this one skips records them, and waits for the lease; without this
    /// look the holder would never notice. Returns `false` if the follower works under another name
    /// by now.
    pub(crate) async fn look_again(&self) -> Result<bool, StoreError> {
        let mut cursor = self.cursor.lock().await;
        let (home, follower, upstream) = self.home();
        let follower_notes = home
            .notes(NotesQuery::new(follower, upstream, notes::EVENTS).limit(1))
            .await?;
        Ok(follower_notes.revision == cursor.revision() || !self.refresh(&mut cursor).await?)
    }

    /// Stops before events that another release has recorded and this one does not know, since this
    /// process would skip them. A process of that release can continue.
    pub(super) async fn wait_for_other_release(
        &self,
        cursor: &mut Cursor,
    ) -> Result<Option<Step>, StoreError> {
        if cursor.unknown_events.is_empty() {
            return Ok(None);
        }
        // That release may have been rolled back, and its record with it, so the record is read
        // again first.
        self.refresh(cursor).await?;
        if cursor.unknown_events.is_empty() {
            self.clear_failure();
            return Ok(None);
        }
        let follower = self.name.as_str().to_owned();
        let source = TakesUnknownEvents {
            follower,
            events: describe_events(&cursor.unknown_events),
        };
        Ok(Some(self.fail(
            cursor.reached,
            "the events that it takes".to_owned(),
            source.into(),
        )))
    }
}

/// Returns a query for these events. It can also find events of one of the names that belong to
/// another of the aggregates, so the caller filters.
fn query_for(events: &EventNames, after: Position, position: Position) -> LogQuery {
    let query = LogQuery::after(after)
        .limit(EVENTS_PER_PAGE_MAX)
        .decided_up_to(position);
    query
        .categories(events.keys().cloned())
        .names(events.values().flatten().cloned())
}

fn is_one_of(events: &EventNames, event: &StoredEvent) -> bool {
    events
        .get(&event.stream.category)
        .is_some_and(|names| names.contains(&event.name))
}
