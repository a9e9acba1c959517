//! [`export`]: from a store into a file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::cut::{Cut, CutFollower, cut};
use super::line::{End, FollowerLine, Header, NoteLine, event_line, write_line};
use super::{ArchiveError, EVENTS_PER_PAGE, Progress, Stage};
use crate::EventRef;
use crate::store::{EventStore, Figures, FiguresQuery, LogQuery, Name, Position, Slice, StoredEvent};
use crate::system::{System, accounted, is_carried_as_it_is, is_of_positions};

/// What an export has written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many events.
    pub events: u64,
    /// The last position of the log that is in the archive.
    pub head: Position,
    /// The policies whose place is in it.
    pub followers: Vec<Name>,
}

/// Writes the log of `store` into `out`, and where the policies of the system `S` are, which keeps everything in this
/// store. The system may run meanwhile: the archive has the events up to one moment, and the policies as they were then.
///
/// It reads page by page. What it writes is whole only if it returns.
///
/// # Errors
/// - [`ArchiveError::AtWork`]: the policies are never at rest, not for a millisecond. Stop the system.
/// - [`ArchiveError::File`], [`ArchiveError::Store`].
pub async fn export<S: System>(
    store: &dyn EventStore,
    out: &mut (dyn Write + Send),
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Exported, ArchiveError> {
    let Cut { head, mut followers } = cut::<S>(store).await?;
    let counted = store.figures(FiguresQuery::new(Position::ZERO, head)).await?;
    let of = counted.values().map(|figures| figures.count).sum();
    let mut out = Hashed { out, hash: Sha256::new() };
    let names: Vec<_> = followers.iter().map(|follower| follower.name.clone()).collect();
    out.line(&Header::new(store.log_id(), head, of, names.clone()))?;

    let mut places: Vec<_> = followers.iter().map(|_| Place::default()).collect();
    let (mut after, mut events) = (Position::ZERO, 0);
    while after < head {
        progress(Progress { stage: Stage::Exporting, events, of });
        let page = store.read_log(LogQuery::after(after).limit(EVENTS_PER_PAGE)).await?;
        for event in page.events.iter().take_while(|event| event.position <= head) {
            followers.iter().zip(&mut places).for_each(|(follower, place)| place.pass(follower, event));
            out.text(&event_line(event))?;
            events += 1;
        }
        after = page.ceiling;
    }
    progress(Progress { stage: Stage::Exporting, events, of });
    if events != of {
        let reason = format!("it has {events} events up to position {head}, and counts {of}");
        return Err(crate::store::StoreError::Corrupt { reason, source: None }.into());
    }
    for (follower, place) in followers.drain(..).zip(places) {
        place.write(follower, &mut out)?;
    }
    let sha256 = hex(out.hash.clone());
    out.line(&End { end: true, events, sha256 })?;
    out.out.flush().map_err(ArchiveError::File)?;
    Ok(Exported { events, head, followers: names })
}

/// Where a follower is among the events.
#[derive(Default)]
struct Place {
    /// The last event up to its position.
    after: Option<EventRef>,
    /// What it should have dealt with.
    expected: BTreeMap<Slice, Figures>,
}

impl Place {
    fn pass(&mut self, follower: &CutFollower, event: &StoredEvent) {
        let StoredEvent { position, stream, version, .. } = event;
        if *position > follower.book.position {
            return;
        }
        self.after = Some(EventRef::new(stream, *version));
        if follower.takes.contains(&stream.category) && follower.partition.contains(stream) {
            self.expected.entry(Slice::of(*position)).or_default().add(stream, *version);
        }
    }

    fn write(self, follower: CutFollower, out: &mut Hashed<'_>) -> Result<(), ArchiveError> {
        let (expected, noted) = (sum(self.expected), sum(accounted(&follower.book)?));
        let difference = (noted.count.cast_signed() - expected.count.cast_signed(), noted.digest ^ expected.digest);
        let CutFollower { name, takes, partition, book } = follower;
        out.line(&FollowerLine {
            follower: name.clone(),
            takes,
            partition: (partition.count() > 1).then(|| (partition.number(), partition.count())),
            after: self.after,
            differs_by: (expected != noted).then_some(difference),
        })?;
        for (key, note) in book.notes {
            if is_carried_as_it_is(&key) || is_of_positions(&key) {
                out.line(&NoteLine { of: name.clone(), key, note })?;
            }
        }
        Ok(())
    }
}

fn sum(slices: BTreeMap<Slice, Figures>) -> Figures {
    slices.into_values().fold(Figures::default(), |mut sum, figures| {
        sum.merge(figures);
        sum
    })
}

pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes, and hashes what it writes.
struct Hashed<'a> {
    out: &'a mut (dyn Write + Send),
    hash: Sha256,
}

impl Hashed<'_> {
    fn line(&mut self, line: &impl Serialize) -> Result<(), ArchiveError> {
        write_line(self, line).map_err(ArchiveError::File)
    }

    fn text(&mut self, line: &str) -> Result<(), ArchiveError> {
        let written = self.write_all(line.as_bytes()).and_then(|()| self.write_all(b"\n"));
        written.map_err(ArchiveError::File)
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
