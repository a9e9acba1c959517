//! Checks that an archive is complete, from its first to its last line, before anything is written.

use std::io::{self, ErrorKind};

use eventsourcing_core::store::{Position, ReceiptKind, StoredEvent};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufRead, AsyncSeek, AsyncSeekExt as _};

use crate::line::{AnswerLine, End, FollowerLine, Header, Line, Lines, event_line};
use crate::writer::hex;
use crate::{ArchiveError, Progress, Stage};

/// The number of events between two progress reports.
pub(crate) const EVENTS_PER_PROGRESS: u64 = 1_000;

/// The contents of a complete archive.
pub(crate) struct ArchiveSummary {
    pub(crate) events: u64,
    /// The number of answers without an event.
    pub(crate) answers: u64,
    pub(crate) followers: Vec<FollowerLine>,
    /// The hash of all lines but the last.
    pub(crate) sha256: String,
    /// The hash of the events without their positions.
    pub(crate) contents: Contents,
}

/// Reads and checks the whole file from its beginning, and rewinds it.
pub(crate) async fn validate<R: AsyncBufRead + AsyncSeek + Unpin>(
    file: &mut R,
    progress: &mut impl FnMut(Progress),
) -> Result<ArchiveSummary, ArchiveError> {
    rewind(file).await?;
    let mut lines = Lines::new(&mut *file);
    let (header, text) = lines
        .parsed(|text| Ok((Header::parse(text)?, format!("{text}\n"))))
        .await?;
    let mut validator = Validator::default();
    let mut hash = Sha256::new_with_prefix(text);

    let end = loop {
        let (line, text) = lines
            .parsed(|text| Ok((Line::parse(text)?, format!("{text}\n"))))
            .await?;
        if let Line::End(end) = line {
            break end;
        }
        validator
            .take(line, &header)
            .map_err(|reason| ArchiveError::line(lines.number, reason))?;
        hash.update(text);
        let events = validator.contents.events;
        if events.is_multiple_of(EVENTS_PER_PROGRESS) {
            progress(Progress {
                stage: Stage::Reading,
                events,
                of: header.events,
            });
        }
    };
    let number = lines.number;
    let sha256 = hex(hash);

    if let Some(reason) = validator.fault(&header, &end, &sha256) {
        return Err(ArchiveError::line(number, reason));
    }
    if lines.next_line().await?.is_some() {
        return Err(ArchiveError::line(
            number + 1,
            "the archive has ended with the line before",
        ));
    }
    rewind(file).await?;
    let Validator {
        contents,
        answers,
        followers,
        ..
    } = validator;
    Ok(ArchiveSummary {
        events: contents.events,
        answers,
        followers,
        sha256,
        contents,
    })
}

/// Goes back to the beginning of the file.
pub(crate) async fn rewind(file: &mut (impl AsyncSeek + Unpin)) -> Result<(), ArchiveError> {
    match file.rewind().await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotSeekable => {
            let reason =
                "an import reads it several times, and a pipe can be read once; copy it to a file";
            Err(ArchiveError::File(io::Error::new(
                ErrorKind::NotSeekable,
                reason,
            )))
        }
        Err(error) => Err(ArchiveError::File(error)),
    }
}

/// The contents of the lines that were read so far.
#[derive(Default)]
struct Validator {
    last: Position,
    contents: Contents,
    answers: u64,
    followers: Vec<FollowerLine>,
}

impl Validator {
    fn take(&mut self, line: Line, header: &Header) -> Result<(), String> {
        match line {
            Line::Event(event, _) if !self.followers.is_empty() || self.answers > 0 => {
                return Err(format!(
                    "the event at position {} stands after answers or followers",
                    event.position
                ));
            }
            Line::Answer(AnswerLine { answer, .. }) if !self.followers.is_empty() => {
                return Err(format!(
                    "the answer to command {answer} stands after the followers"
                ));
            }
            Line::Answer(AnswerLine {
                answer,
                position,
                kind,
                ..
            }) if kind == ReceiptKind::Recorded || position > header.head => {
                return Err(format!(
                    "the answer to command {answer} belongs to an event, which is not in the file"
                ));
            }
            Line::Answer(_) => self.answers += 1,
            Line::Event(event, _)
                if event.position <= self.last || event.position > header.head =>
            {
                return Err(format!(
                    "the event at position {} follows position {}, or lies beyond the head",
                    event.position, self.last
                ));
            }
            Line::Event(event, _) => {
                self.last = event.position;
                self.contents.add(*event);
            }
            Line::Follower(follower) => self.followers.push(follower),
            Line::Note(note)
                if self
                    .followers
                    .last()
                    .is_none_or(|follower| follower.follower != note.of) =>
            {
                return Err(format!(
                    "the note does not belong to the follower before it but to {}",
                    note.of
                ));
            }
            Line::Note(_) | Line::End(_) => {}
        }
        Ok(())
    }

    fn fault(&self, header: &Header, end: &End, sha256: &str) -> Option<String> {
        let events = self.contents.events;
        let announced = header.events;
        if announced != events || end.events != events || !end.end {
            let at_the_end = end.events;
            return Some(format!(
                "the file has {events} events, its first line says {announced}, its last {at_the_end}"
            ));
        }
        if !self
            .followers
            .iter()
            .map(|follower| &follower.follower)
            .eq(&header.followers)
        {
            return Some("the followers are not those that the first line names".into());
        }
        (end.sha256 != sha256).then(|| "the checksum does not match: the file was changed".into())
    }
}

/// A hash of all events in order, without their positions. It tells apart logs with different
/// contents.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    pub(crate) events: u64,
    hash: Sha256,
}

impl Contents {
    pub(crate) fn add(&mut self, mut event: StoredEvent) {
        event.position = Position::ZERO;
        self.hash.update(event_line(&event, None));
        self.hash.update(b"\n");
        self.events += 1;
    }

    pub(crate) fn digest(self) -> (u64, String) {
        (self.events, hex(self.hash))
    }
}
