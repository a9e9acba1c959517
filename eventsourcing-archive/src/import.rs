//! [`import`]: fills an empty store from a file.
//!
//! The import is a follower of the file: each append of events carries its step to the line it has
//! reached. So an interrupted import loses no event and writes none twice, and continues where it
//! was. Answers without an event are written before the step over them; a command that is answered
//! twice has one answer.

use eventsourcing_core::private::archive::{FINISHED, IMPORT, UNFINISHED};
use eventsourcing_core::store::{
    Append, CommandId, Expected, FollowerNotes, FollowerStore, LogQuery, Name, NotesQuery,
    Position, ReceiptKind, Revision, StoreError, StoredEvent, StreamAppend, Tracking, Version,
    audit_of,
};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio::io::{AsyncBufRead, AsyncSeek};

use crate::follower_import::FollowerImport;
use crate::line::{AnswerLine, Line, Lines, new_event};
use crate::validate::{ArchiveSummary, Contents, EVENTS_PER_PROGRESS, rewind, validate};
use crate::{ArchiveError, EVENTS_PER_PAGE, Progress, Stage};

/// The number of answers that are written at the same time; each has a commit, and a store may let
/// them share one.
const ANSWERS_AT_ONCE: usize = 64;
/// The size at which an append takes no further event, in bytes of payload and metadata.
const BYTES_PER_APPEND: usize = 4 * 1024 * 1024;

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The number of events in the archive.
    pub events: u64,
    /// The number of answers in the archive to commands that recorded no event.
    pub answers: u64,
    /// The number of events that an earlier, interrupted import had written.
    pub events_before: u64,
    /// The policies that continue at their places.
    pub followers: Vec<Name>,
}

/// Writes the events of an archive into `store`, which must be empty, with the answers to commands
/// that recorded none, and puts the policies at their places.
///
/// The file is read three times from its beginning: to check that it is complete, before anything
/// is written; to write the events; to place the policies. So `file` must be able to seek: a pipe
/// is first copied to a file. In between, the events of the store are compared with the file, one
/// by one.
///
/// No system starts on the store until the import is finished. An import that is interrupted, by an
/// error, by the end of the process or because this future is dropped, leaves the events up to some
/// line of the file in the store: run it again with the same file, and it continues there. An append
/// that was under way may still happen; the next import finds it. The place at which `file` is left
/// is not specified.
///
/// # Errors
/// - [`ArchiveError::Line`]: the file is damaged or incomplete. Nothing was written, unless an
///   event conflicts with the store.
/// - [`ArchiveError::NotEmpty`], [`ArchiveError::Finished`], [`ArchiveError::AtWork`]: nothing was
///   written.
/// - [`ArchiveError::Different`], [`ArchiveError::File`], [`ArchiveError::Store`]: the import is
///   not finished.
pub async fn import(
    store: impl FollowerStore,
    mut file: impl AsyncBufRead + AsyncSeek + Unpin + Send,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Imported, ArchiveError> {
    let store: &dyn FollowerStore = &store;
    let summary = validate(&mut file, &mut progress).await?;
    let mut import = Import::begin(store, &summary).await?;
    let mut lines = Lines::new(&mut file);
    let events_before = import
        .write_events(&mut lines, summary.events, &mut progress)
        .await?;
    import.write_answers(&mut lines, &summary).await?;
    rewind(&mut file).await?;
    let mut follower_import = FollowerImport::new(store, &summary.followers).await?;
    compare(store, &summary, &mut follower_import, &mut progress).await?;
    follower_import.write(&mut file).await?;
    import.finish(&summary).await?;
    let followers = summary
        .followers
        .iter()
        .map(|line| line.follower.clone())
        .collect();
    Ok(Imported {
        events: summary.events,
        answers: summary.answers,
        events_before,
        followers,
    })
}

/// The progress of an import, as the store knows it.
struct Import<'a> {
    store: &'a dyn FollowerStore,
    /// The last line of the file whose event is in the store.
    line: u64,
    revision: Revision,
}

impl<'a> Import<'a> {
    /// Marks the store as being imported into, or finds the mark of the same import.
    async fn begin(
        store: &'a dyn FollowerStore,
        summary: &ArchiveSummary,
    ) -> Result<Self, ArchiveError> {
        let FollowerNotes {
            position,
            revision,
            notes,
            ..
        } = store
            .notes(NotesQuery::new(IMPORT, store.log_id(), ""))
            .await?;
        let mut import = Self {
            store,
            line: position.as_u64(),
            revision,
        };
        let not_empty = |reason: &str| {
            Err(ArchiveError::NotEmpty {
                reason: reason.into(),
            })
        };
        match (notes.get(UNFINISHED), notes.get(FINISHED)) {
            (Some(known), _) if *known == summary.sha256 => {}
            (Some(_), _) => {
                return not_empty("it has another archive, whose import is not finished");
            }
            (None, Some(known)) if *known == summary.sha256 => return Err(ArchiveError::Finished),
            (None, _) => {
                import.refuse_contents().await?;
                let step = import.step(0).with_note(UNFINISHED, &summary.sha256);
                import
                    .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
                    .await?;
            }
        }
        // The mark comes first and the look at leases second: a system that starts after the mark
        // is refused by it, and one that runs already is found by its leases. In the other order a
        // system could start between the two. A refusal removes the mark again if nothing was
        // imported yet.
        if let Err(refused) = import.refuse_followers(summary).await {
            if import.line == 0 {
                let step = import.step(0).without_note(UNFINISHED);
                import
                    .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
                    .await?;
            }
            return Err(refused);
        }
        Ok(import)
    }

    async fn refuse_contents(&self) -> Result<(), ArchiveError> {
        match self.store.newest_position().await? {
            Position::ZERO => {}
            newest => {
                return Err(ArchiveError::NotEmpty {
                    reason: format!("its log is at position {newest}"),
                });
            }
        }
        match audit_of(self.store)?.receipts(None, 1).await?.is_empty() {
            true => Ok(()),
            false => Err(ArchiveError::NotEmpty {
                reason: "it has answers to commands that recorded no event".into(),
            }),
        }
    }

    /// Refuses if a process runs one of the followers on this store: it would process the imported
    /// events.
    async fn refuse_followers(&self, summary: &ArchiveSummary) -> Result<(), ArchiveError> {
        for follower in summary.followers.iter().map(|line| &line.follower) {
            if self
                .store
                .lease_holder(follower, self.store.log_id())
                .await?
                .is_some()
            {
                return Err(ArchiveError::AtWork {
                    follower: follower.clone(),
                });
            }
        }
        Ok(())
    }

    fn step(&self, lines: u64) -> Tracking {
        let from = Position::new(self.line);
        let to = Position::new(self.line + lines);
        Tracking::new(IMPORT, self.store.log_id(), from, to).with_revision(self.revision)
    }

    async fn append(&mut self, append: Append) -> Result<(), ArchiveError> {
        let line = append
            .tracking
            .as_ref()
            .map_or(self.line, |step| step.to.as_u64());
        match self.store.append(append).await {
            Ok(_) => {
                self.line = line;
                self.revision = self.revision.next();
                Ok(())
            }
            Err(StoreError::TrackingConflict { .. }) => {
                Err(ArchiveError::AtWork { follower: IMPORT })
            }
            Err(error @ StoreError::Conflict { .. }) => Err(ArchiveError::line(line, error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the events that are missing in the store, and returns how many were there before.
    async fn write_events<R: AsyncBufRead + Unpin>(
        &mut self,
        lines: &mut Lines<R>,
        of: u64,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<u64, ArchiveError> {
        // Line 1 is the header, so after line n the store has n - 1 events. Lines of answers come
        // after all events and must not count.
        let before = self.line.saturating_sub(1).min(of);
        for _ in 0..=before {
            lines.next_line().await?;
        }
        let mut group = Group::default();
        let mut events = before;
        while events < of {
            let Line::Event(event, command) = lines.parsed(Line::parse).await? else {
                break;
            };
            if !group.takes(&event) {
                self.write(std::mem::take(&mut group)).await?;
            }
            group.push(*event, command);
            events += 1;
            if events.is_multiple_of(EVENTS_PER_PROGRESS) || events == of {
                progress(Progress {
                    stage: Stage::Importing,
                    events,
                    of,
                });
            }
        }
        self.write(group).await?;
        Ok(before)
    }

    /// Writes the answers that are missing in the store. Each is an append of its own, and the step
    /// over them follows them: after an interruption their command ids make the store return them
    /// instead of writing them again.
    async fn write_answers<R: AsyncBufRead + Unpin>(
        &mut self,
        lines: &mut Lines<R>,
        summary: &ArchiveSummary,
    ) -> Result<(), ArchiveError> {
        let mut left = summary.answers;
        while lines.number < self.line {
            lines.next_line().await?;
            left = left.saturating_sub(1);
        }
        while left > 0 {
            let mut answers = Vec::with_capacity(ANSWERS_AT_ONCE);
            while left > 0 && answers.len() < ANSWERS_AT_ONCE {
                let Line::Answer(answer) = lines.parsed(Line::parse).await? else {
                    break;
                };
                answers.push(self.write_answer(answer));
                left -= 1;
            }
            try_join_all(answers).await?;
            let step = self.step(lines.number - self.line);
            self.append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
                .await?;
        }
        Ok(())
    }

    async fn write_answer(&self, line: AnswerLine) -> Result<(), ArchiveError> {
        let AnswerLine {
            answer, kind, note, ..
        } = line;
        let append = match (kind, note) {
            (ReceiptKind::Rejected, Some(note)) => {
                Append::new(Timestamp::UNIX_EPOCH).with_rejection(answer, note)
            }
            (ReceiptKind::Rejected, None) => {
                Append::new(Timestamp::UNIX_EPOCH).with_rejected_command(answer)
            }
            _ => Append::new(Timestamp::UNIX_EPOCH).with_command_id(answer),
        };
        match self.store.append(append).await?.receipt.kind {
            found if found == kind => Ok(()),
            _ => Err(ArchiveError::Different {
                reason: format!("command {answer} has another answer in the store"),
            }),
        }
    }

    async fn write(&mut self, group: Group) -> Result<(), ArchiveError> {
        let Some(first) = group.events.first() else {
            return Ok(());
        };
        let mut append = Append::new(first.recorded_at);
        // The first line of the file is the header and has no event.
        let lines = group.events.len() as u64 + u64::from(self.line == 0);
        append.tracking = Some(self.step(lines));
        if let Some(command) = group.command {
            append = append.with_command_id(command);
        }
        for event in group.events {
            match append
                .streams
                .last_mut()
                .filter(|part| part.stream == event.stream)
            {
                Some(part) => part.events.push(new_event(event)),
                None => {
                    let stream = event.stream.clone();
                    let before = event.version.as_u64().saturating_sub(1);

                    let expected = Expected::Exact(Version::new(before));
                    append.streams.push(StreamAppend {
                        stream,
                        expected,
                        events: vec![new_event(event)],
                    });
                }
            }
        }
        self.append(append).await
    }

    async fn finish(mut self, summary: &ArchiveSummary) -> Result<(), ArchiveError> {
        let step = self
            .step(0)
            .without_note(UNFINISHED)
            .with_note(FINISHED, &summary.sha256);
        self.append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
    }
}

/// Events that one append can write without changing their order: they have the same time, and
/// those of each stream are consecutive. The last event of a command is the last one of an append,
/// so that the receipt names the position of that event in this store too.
#[derive(Default)]
struct Group {
    events: Vec<StoredEvent>,
    command: Option<CommandId>,
    bytes: usize,
}

impl Group {
    fn takes(&self, event: &StoredEvent) -> bool {
        let Some(last) = self.events.last() else {
            return true;
        };
        let continues = match last.stream == event.stream {
            true => last.version.next() == event.version,
            false => self
                .events
                .iter()
                .all(|earlier| earlier.stream != event.stream),
        };
        let has_room = self.events.len() < EVENTS_PER_PAGE && self.bytes < BYTES_PER_APPEND;
        continues && has_room && self.command.is_none() && last.recorded_at == event.recorded_at
    }

    fn push(&mut self, event: StoredEvent, command: Option<CommandId>) {
        self.command = command;
        self.bytes += event.payload.len() + event.metadata.len();
        self.events.push(event);
    }
}

/// Compares the events of the store with the file, and counts for each policy the events that it
/// has processed.
async fn compare(
    store: &dyn FollowerStore,
    summary: &ArchiveSummary,
    follower_import: &mut FollowerImport<'_>,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ArchiveError> {
    let mut contents = Contents::default();
    let mut after = Position::ZERO;

    loop {
        let page = store
            .read_log(LogQuery::after(after).limit(EVENTS_PER_PAGE))
            .await?;
        if page.events.is_empty() {
            break;
        }
        after = page.ceiling;
        for event in page.events {
            follower_import.count_event(&event);
            contents.add(event);
        }
        progress(Progress {
            stage: Stage::Comparing,
            events: contents.events,
            of: summary.events,
        });
    }
    let found = contents.digest();
    let expected = summary.contents.clone().digest();

    let reason = match found == expected {
        true => return Ok(()),
        false if found.0 != expected.0 => format!(
            "the store has {} events, the archive {}",
            found.0, expected.0
        ),
        false => "the events of the store differ from those of the archive".to_owned(),
    };
    Err(ArchiveError::Different { reason })
}
