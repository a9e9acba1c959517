//! Kept rejections, as the stores of this project keep them: a note under a hidden name.

use super::{
    Append, CommandId, FollowerStore, LogId, Name, NotesQuery, Position, StoreError, Tracking,
};

/// The key of the note.
pub(crate) const REJECTION: &str = "refusal";
/// The beginning of the hidden names.
const REJECTIONS: &str = "refusal:";

/// The name under which the rejection of a command is kept. Each has a name of its own, so that no other append waits for it.
pub(crate) fn rejections_follower(command_id: CommandId) -> Name {
    format!("{REJECTIONS}{command_id}").into()
}

/// Returns a name that sorts behind the names of all rejections if `name` is that of a rejection.
/// Followers are listed in the order of their names, so a listing can skip all rejections at once.
pub(crate) fn behind_rejections(name: &Name) -> Option<Name> {
    name.as_str()
        .starts_with(REJECTIONS)
        .then(|| format!("{REJECTIONS}~").into())
}

impl Append {
    /// Returns this append with its rejection as a note of the first step of a follower that no one
    /// else has, for stores that keep rejections as notes. A store calls it after
    /// [`validate`](Self::validate), and reads the rejection with [`noted_rejection`]. `log` is its
    /// own log.
    #[must_use]
    pub fn with_rejection_as_note(mut self, log: LogId) -> Self {
        let command = self.commands.only();
        if let (Some(rejection), Some(command)) = (self.rejection.take(), command) {
            let follower = rejections_follower(command);
            let step = Tracking::new(follower, log, Position::ZERO, Position::ZERO);
            self.tracking = Some(step.with_note(REJECTION, rejection));
        }
        self
    }
}

/// Returns the rejection of a command from the note that
/// [`with_rejection_as_note`](Append::with_rejection_as_note) makes of it.
///
/// # Errors
/// The notes cannot be read.
pub async fn noted_rejection(
    store: &dyn FollowerStore,
    command_id: CommandId,
) -> Result<Option<String>, StoreError> {
    let query = NotesQuery::new(rejections_follower(command_id), store.log_id(), REJECTION);
    Ok(store.notes(query).await?.notes.remove(REJECTION))
}
