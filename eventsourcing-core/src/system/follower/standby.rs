//! Taking a follower over, and observing it while another process runs it.

use super::failure::StepFailure;
use super::status::{Status, Step};
use super::worker::FollowerWorker;
use crate::store::{HolderId, LeaseHolder, LeaseToken, NotesQuery, Position, StoreError};
use crate::system::notes::{self, HolderInfo, RETIRED};
use crate::system::{FollowerState, Holder};

impl<S> FollowerWorker<S> {
    /// Returns `true` if it only observes the position of a read model that another version writes.
    pub(crate) fn is_observer(&self) -> bool {
        self.sink.is_observer()
    }

    /// Takes the follower over under the lease `token`, continues at its stored position, and notes
    /// this process as its holder. Returns `false` if the follower works under another name by now,
    /// for which this process has no lease.
    pub(crate) async fn take_over(
        &self,
        token: LeaseToken,
        who: &HolderInfo,
    ) -> Result<bool, StoreError> {
        let mut cursor = self.cursor.lock().await;
        cursor.lease = Some(token);
        if self.refresh(&mut cursor).await? {
            return Ok(false);
        }
        match self.prove(&mut cursor).await? {
            None => {}
            Some(step) => return Ok(step != Step::LeaseLost),
        }
        let mut step = cursor.step_in_place();
        let note = serde_json::to_string(who).expect("an id and a text");
        step.tracking = step.tracking.with_note(notes::HOLDER, note);
        match self.sink.make_step(step.tracking.clone()).await {
            Ok(()) => cursor.done(step),
            Err(StepFailure::Unavailable(error)) => return Err(error),
            Err(StepFailure::CutChanged(refusal)) => {
                self.stop_for_cut(cursor.reached, refusal);
                return Ok(true);
            }
            // Another process has changed the notes, or has the lease by now. The next step meets
            // that as well.
            Err(_) => drop(self.refresh(&mut cursor).await?),
        }
        self.status.send_modify(|status| {
            // Taking over does not bring the newer release that the follower waits for. The state
            // is cleared when an event succeeds.
            let waits = matches!(status.state, FollowerState::WaitingForRelease(_));
            let state = if waits {
                status.state.clone()
            } else {
                FollowerState::Running
            };
            *status = Status::of(&cursor, state);
        });
        Ok(true)
    }

    /// Updates the status of a follower that another process runs. Returns the head of its home
    /// from before its position was read, so that a caller who waits for events beyond that head
    /// misses no step of the other process.
    pub(crate) async fn stand_by(&self, holder: Option<HolderId>) -> Result<Position, StoreError> {
        if self.is_observer() && self.sink.adopt_successor().await? {
            self.refresh(&mut *self.cursor.lock().await).await?;
        }
        let head = self.sink.home().head().await?;
        let epoch = Some(self.upstream.epoch());
        let (mut position, mut has_parked) = self.notes().place().await?;
        if position == RETIRED && self.sink.adopt_successor().await? {
            (position, has_parked) = self.notes().place().await?;
        }
        let reached = self.skipped_to(position).await?;
        let state = FollowerState::StandingBy { holder };
        self.status.send_replace(Status {
            reached,
            state,
            has_parked,
            epoch,
        });
        Ok(head)
    }

    /// Returns the process that runs the follower, if it is run under a lease.
    pub(crate) async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let (home, follower, upstream) = self.home();
        let Some(LeaseHolder {
            holder, expires_in, ..
        }) = home.lease_holder(&follower, upstream).await?
        else {
            return Ok(None);
        };
        let notes = home
            .notes(NotesQuery::new(follower, upstream, notes::HOLDER))
            .await?
            .notes;
        let who = notes
            .get(notes::HOLDER)
            .and_then(|note| serde_json::from_str::<HolderInfo>(note).ok());
        let who = who.filter(|who| who.holder == holder);
        let process = who.map_or_else(|| holder.to_string(), |who| who.process);
        Ok(Some(Holder {
            holder,
            process,
            expires_in,
        }))
    }
}
