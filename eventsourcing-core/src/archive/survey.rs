//! What an archive holds: read from its first to its last line before anything is done with it.

use std::io::{BufRead, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

use super::export::hex;
use super::line::{End, FollowerLine, Header, Line, Lines, event_line};
use super::{ArchiveError, Progress, Stage};
use crate::store::{Name, Position, StoredEvent};

/// How often it is said how far it is.
pub(super) const EVENTS_BETWEEN_NEWS: u64 = 1_000;

/// An archive that is whole.
pub(super) struct Survey {
    pub(super) events: u64,
    pub(super) followers: Vec<FollowerLine>,
    /// Of all its lines but the last.
    pub(super) sha256: String,
    /// Of its events without their positions.
    pub(super) contents: Contents,
}

/// Reads the whole file. Afterwards it is to be read from its beginning.
pub(super) fn survey<R: BufRead + Seek>(
    file: &mut R,
    progress: &mut impl FnMut(Progress),
) -> Result<Survey, ArchiveError> {
    let mut hash = Sha256::new();
    let mut lines = Lines::new(&mut *file);
    let (header, text) = lines.parsed(|text| Ok((Header::parse(text)?, format!("{text}\n"))))?;
    hash.update(text);
    let (mut events, mut last, mut followers) = (0_u64, Position::ZERO, Vec::new());
    let mut contents = Contents::default();
    let end = loop {
        let (line, text) = lines.parsed(|text| Ok((Line::parse(text)?, format!("{text}\n"))))?;
        let misplaced = |reason: String| Err(ArchiveError::line(lines.number, reason));
        match line {
            Line::Event(event) if !followers.is_empty() => {
                return misplaced(format!("the event at position {} stands after the followers", event.position));
            }
            Line::Event(event) if event.position <= last || event.position > header.head => {
                return misplaced(format!("position {} after {last}", event.position));
            }
            Line::Event(event) => {
                (events, last) = (events + 1, event.position);
                contents.add(*event);
                if events.is_multiple_of(EVENTS_BETWEEN_NEWS) {
                    progress(Progress { stage: Stage::Reading, events, of: header.events });
                }
            }
            Line::Follower(follower) => followers.push(follower),
            Line::Note(note) if followers.last().is_none_or(|follower| follower.follower != note.of) => {
                return misplaced(format!("the note is not of the follower before it but of {}", note.of));
            }
            Line::Note(_) => {}
            Line::End(end) => break end,
        }
        hash.update(text);
    };
    let named: Vec<&Name> = followers.iter().map(|follower| &follower.follower).collect();
    let sha256 = hex(hash);
    let fault = fault(&header, &end, events, &named, &sha256);
    let number = lines.number;
    if let Some(reason) = fault {
        return Err(ArchiveError::line(number, reason));
    }
    if lines.next_line()?.is_some() {
        return Err(ArchiveError::line(number + 1, "the archive has ended in the line before"));
    }
    file.seek(SeekFrom::Start(0)).map_err(ArchiveError::File)?;
    Ok(Survey { events, followers, sha256, contents })
}

fn fault(header: &Header, end: &End, events: u64, followers: &[&Name], sha256: &str) -> Option<String> {
    if (header.events, end.events) != (events, events) || !end.end {
        let Header { events: promised, .. } = header;
        return Some(format!("there are {events} events, the first line promises {promised}, the last {}", end.events));
    }
    if !header.followers.iter().eq(followers.iter().copied()) {
        return Some("the followers are not those that the first line promises".into());
    }
    (end.sha256 != sha256).then(|| "the checksum does not fit: the file was changed".into())
}

/// Tells apart logs of different contents: a hash of all events in order, without their positions.
#[derive(Clone, Default)]
pub(super) struct Contents {
    pub(super) events: u64,
    hash: Sha256,
}

impl Contents {
    pub(super) fn add(&mut self, mut event: StoredEvent) {
        event.position = Position::ZERO;
        self.hash.update(event_line(&event));
        self.hash.update(b"\n");
        self.events += 1;
    }

    pub(super) fn digest(self) -> (u64, String) {
        (self.events, hex(self.hash))
    }
}
