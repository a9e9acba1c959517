//! Puts policies into another store at the places they had: after the same event, with the same
//! notes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::io::AsyncBufRead;

use eventsourcing_core::EventRef;
use eventsourcing_core::private::archive::{
    Partition, checksum_note, is_of_positions, is_unprocessed, moved_note, place_of, whole_follower,
};
use eventsourcing_core::store::{
    Append, Cut, FollowerStore, LogChecksum, LogSlice, Name, NotesQuery, Position, StoreError,
    StoredEvent, StreamId, StreamQuery, Tracking, Version,
};

use crate::ArchiveError;
use crate::line::{FollowerLine, Line, Lines, NoteLine};

/// The number of notes in one step.
const NOTES_PER_STEP: usize = 500;

/// The policies of the archive.
pub(crate) struct FollowerImport<'a> {
    store: &'a dyn FollowerStore,
    followers: Vec<ImportedFollower<'a>>,
}

struct ImportedFollower<'a> {
    line: &'a FollowerLine,
    partition: Partition,
    /// The position after the import.
    position: Position,
    /// The checksums of the events that it has processed.
    checksums: BTreeMap<LogSlice, LogChecksum>,
}

impl<'a> FollowerImport<'a> {
    pub(crate) async fn new(
        store: &'a dyn FollowerStore,
        lines: &'a [FollowerLine],
    ) -> Result<Self, ArchiveError> {
        let mut followers = Vec::new();
        for line in lines {
            let position = match &line.after {
                None => Position::ZERO,
                Some(EventRef {
                    category,
                    id,
                    version,
                }) => position_of(store, &StreamId::new(category.as_str(), *id), *version).await?,
            };
            let (number, of) = line.partition.unwrap_or((0, 1));
            let partition = Partition::split(of)
                .nth(number as usize)
                .unwrap_or(Partition::WHOLE);
            followers.push(ImportedFollower {
                line,
                partition,
                position,
                checksums: BTreeMap::new(),
            });
        }
        Ok(Self { store, followers })
    }

    /// Counts an event of the store for the followers that have processed it.
    pub(crate) fn count_event(&mut self, event: &StoredEvent) {
        for follower in &mut self.followers {
            let ImportedFollower {
                line,
                partition,
                position,
                checksums,
            } = follower;
            let is_its =
                line.takes.contains(&event.stream.category) && partition.contains(&event.stream);
            if is_its && event.position <= *position {
                checksums
                    .entry(LogSlice::of(event.position))
                    .or_default()
                    .add(&event.stream, event.version);
            }
        }
    }

    /// Writes the positions and notes of the followers; doing so again changes nothing.
    pub(crate) async fn write<R>(self, file: &mut R) -> Result<(), ArchiveError>
    where
        R: AsyncBufRead + Unpin,
    {
        let mut lines = Lines::new(file);
        let mut notes = NotesOfFile {
            lines: &mut lines,
            ahead: None,
        };
        for follower in self.followers {
            follower.write(self.store, &mut notes).await?;
        }
        Ok(())
    }
}

impl ImportedFollower<'_> {
    async fn write<R: AsyncBufRead + Unpin>(
        mut self,
        store: &dyn FollowerStore,
        notes: &mut NotesOfFile<'_, R>,
    ) -> Result<(), ArchiveError> {
        if let Some((count, digest)) = self.line.differs_by {
            let checksums = self
                .checksums
                .entry(LogSlice::of(self.position))
                .or_default();
            checksums.count = checksums.count.wrapping_add_signed(count);
            checksums.digest = checksums.digest ^ digest;
        }
        let mut chunk = Vec::new();
        while let Some(NoteLine { key, note, .. }) = notes.next_of(&self.line.follower).await? {
            chunk.push(self.translate_note(store, key, note).await?);
            if chunk.len() == NOTES_PER_STEP {
                self.step(store, std::mem::take(&mut chunk), false).await?;
            }
        }
        self.step(store, chunk, false).await?;
        let checksums = self
            .checksums
            .iter()
            .map(|(slice, checksums)| checksum_note(*slice, checksums))
            .collect::<Vec<_>>();
        for chunk in checksums.chunks(NOTES_PER_STEP) {
            self.step(store, chunk.to_vec(), false).await?;
        }
        // Only the last step moves the follower to its position. A crash before it leaves the
        // follower at zero with some of its notes, and the next import writes the same notes again.
        self.step(store, Vec::new(), true).await
    }

    /// Translates a note: events have other positions in this store.
    async fn translate_note(
        &mut self,
        store: &dyn FollowerStore,
        key: String,
        note: String,
    ) -> Result<(String, String), ArchiveError> {
        if !is_of_positions(&key) {
            return Ok((key, note));
        }
        let (stream, version) = place_of(&note)?;
        let position = position_of(store, &stream, version).await?;
        if is_unprocessed(&key) && self.line.takes.contains(&stream.category) {
            let mut event = LogChecksum::default();
            event.add(&stream, version);
            let checksums = self.checksums.entry(LogSlice::of(position)).or_default();
            checksums.count = checksums.count.wrapping_sub(1);
            checksums.digest = checksums.digest ^ event.digest;
        }
        Ok(moved_note(&key, &note, position)?)
    }

    async fn step(
        &self,
        store: &dyn FollowerStore,
        notes: Vec<(String, String)>,
        is_last: bool,
    ) -> Result<(), ArchiveError> {
        let name = &self.line.follower;
        let now = store
            .notes(NotesQuery::new(name.clone(), store.log_id(), "").limit(1))
            .await?;
        if now.position != Position::ZERO && now.position != self.position {
            let reason = format!(
                "follower {name} is at position {}, expected {}",
                now.position, self.position
            );
            return Err(ArchiveError::Different { reason });
        }
        let to = if is_last { self.position } else { now.position };
        let step = Tracking::new(name.clone(), store.log_id(), now.position, to)
            .with_revision(now.revision);
        let step = notes
            .into_iter()
            .fold(step.with_cut(self.cut()), |step, (key, note)| {
                step.with_note(key, note)
            });
        match store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
        {
            Ok(_) => Ok(()),
            Err(StoreError::TrackingConflict { .. }) => Err(ArchiveError::AtWork {
                follower: name.clone(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the cut with which the follower continues. The line of a follower with several
    /// partitions takes no events: its partitions have lines of their own.
    fn cut(&self) -> Option<Cut> {
        let whole = whole_follower(&self.line.follower);
        match self.line.partition {
            Some((_, of)) => Some(Cut::new(whole, of)),
            None if self.line.takes.is_empty() => None,
            None => Some(Cut::new(whole, 1)),
        }
    }
}

/// Returns the position of an event in this store.
async fn position_of(
    store: &dyn FollowerStore,
    stream: &StreamId,
    version: Version,
) -> Result<Position, ArchiveError> {
    let query = StreamQuery::new(stream.clone()).from(version).to(version);
    match store.read_stream(query).await?.first() {
        Some(event) => Ok(event.position),
        None => Err(ArchiveError::Different {
            reason: format!("the store has no version {version} of {stream}"),
        }),
    }
}

/// The notes of a file, in the order of their followers.
struct NotesOfFile<'a, R> {
    lines: &'a mut Lines<R>,
    /// A note of the next follower that was read already.
    ahead: Option<NoteLine>,
}

impl<R: AsyncBufRead + Unpin> NotesOfFile<'_, R> {
    async fn next_of(&mut self, follower: &Name) -> Result<Option<NoteLine>, ArchiveError> {
        if self.ahead.is_none() {
            self.ahead = self.read().await?;
        }
        Ok(self.ahead.take_if(|note| note.of == *follower))
    }

    async fn read(&mut self) -> Result<Option<NoteLine>, ArchiveError> {
        loop {
            let number = self.lines.number + 1;
            let Some(text) = self.lines.next_line().await? else {
                return Ok(None);
            };
            if !text.starts_with("{\"of\"") {
                continue;
            }
            if let Line::Note(note) =
                Line::parse(text.trim_end()).map_err(|reason| ArchiveError::line(number, reason))?
            {
                return Ok(Some(note));
            }
        }
    }
}
