//! [`export`]: writes a store into a file.

use std::collections::{BTreeMap, HashMap};

use eventsourcing_core::private::archive::{accounted, is_copied_unchanged, is_of_positions};
use eventsourcing_core::store::{
    CommandId, FollowerStore, LogChecksum, LogChecksumsQuery, LogQuery, LogSlice, Name, Position,
    Receipt, ReceiptKind, StoreError, StoredEvent, audit_of,
};
use eventsourcing_core::{EventRef, System};
use tokio::io::AsyncWrite;

use crate::consistent_cut::{ConsistentCut, CutFollower, consistent_cut};
use crate::line::{AnswerLine, FollowerLine, Header, NoteLine, event_line};
use crate::writer::ArchiveWriter;
use crate::{ArchiveError, EVENTS_PER_PAGE, Progress, Stage};

/// The contents of an exported archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The number of events.
    pub events: u64,
    /// The number of answers to commands that recorded no event: kept rejections, and commands with
    /// nothing to record.
    pub answers: u64,
    /// The last position of the log that is in the archive.
    pub head: Position,
    /// The policies whose positions are in the archive.
    pub followers: Vec<Name>,
}

/// Writes the log of `store` into `out`, with the positions of the policies of the system `S`,
/// which must keep everything in this store. The system may run meanwhile: the archive has the
/// events up to one moment, and the policies as they were then.
///
/// The log is read page by page, and written in pieces of 64 KiB, so `out` needs no buffer. `Ok`
/// means that the whole archive was written to `out` and flushed. After an error, or if this future
/// is dropped, `out` has the beginning of an archive, which [`import`](crate::import) refuses. The
/// store is only read.
///
/// # Errors
/// - [`ArchiveError::AtWork`]: the policies never rest, not even for a millisecond. Stop the
///   system.
/// - [`ArchiveError::File`]: `out` cannot be written. [`ArchiveError::Store`]: the store failed.
pub async fn export<S: System>(
    store: impl FollowerStore,
    mut out: impl AsyncWrite + Unpin + Send,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Exported, ArchiveError> {
    let store: &dyn FollowerStore = &store;
    let ConsistentCut { head, followers } = consistent_cut::<S>(store).await?;
    let counted = audit_of(store)?
        .checksums(LogChecksumsQuery::new(Position::ZERO, head))
        .await?;
    let of = counted.values().map(|checksums| checksums.count).sum();
    let names: Vec<_> = followers
        .iter()
        .map(|follower| follower.name.clone())
        .collect();
    let mut out = ArchiveWriter::new(&mut out);
    out.line(&Header::new(store.log_id(), head, of, names.clone()))
        .await?;
    let mut places: Vec<_> = followers.into_iter().map(Place::new).collect();

    let events = write_events(store, head, &mut places, &mut out, |events| {
        progress(Progress {
            stage: Stage::Exporting,
            events,
            of,
        });
    });
    let events = events.await?;
    // The store counts the events by itself for the checksums. A different number means that the
    // log that was read is not the one that was counted, and the archive would be incomplete.
    if events != of {
        let reason = format!(
            "the log has {events} events up to position {head}, but its checksums count {of}"
        );
        return Err(StoreError::Corrupt {
            reason,
            source: None,
        }
        .into());
    }
    let answers = write_answers(store, head, &mut out).await?;
    for place in places {
        place.write(&mut out).await?;
    }
    out.end(events).await?;
    Ok(Exported {
        events,
        answers,
        head,
        followers: names,
    })
}

/// Writes the events up to `head`, and returns their number.
async fn write_events(
    store: &dyn FollowerStore,
    head: Position,
    places: &mut [Place],
    out: &mut ArchiveWriter<'_>,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, ArchiveError> {
    let mut after = Position::ZERO;
    let mut events = 0;
    let mut commands = Commands::default();

    while after < head {
        progress(events);
        let page = store
            .read_log(
                LogQuery::after(after)
                    .limit(EVENTS_PER_PAGE)
                    .decided_up_to(head),
            )
            .await?;
        for event in page
            .events
            .iter()
            .take_while(|event| event.position <= head)
        {
            places.iter_mut().for_each(|place| place.pass(event));
            let command = commands.ending_at(store, event.position).await?;
            out.text(&event_line(event, command)).await?;
            events += 1;
        }
        after = page.ceiling;
    }
    progress(events);
    Ok(events)
}

/// Writes the answers without an event that were decided on the events up to `head`, and returns
/// their number.
async fn write_answers(
    store: &dyn FollowerStore,
    head: Position,
    out: &mut ArchiveWriter<'_>,
) -> Result<u64, ArchiveError> {
    let mut after = None;
    let mut answers = 0;

    loop {
        let receipts = audit_of(store)?.receipts(after, RECEIPTS_PER_PAGE).await?;
        let Some(last) = receipts.last() else {
            return Ok(answers);
        };
        after = last.command_id;
        for Receipt {
            kind,
            position,
            command_id,
            ..
        } in receipts
        {
            let Some(answer) =
                command_id.filter(|_| kind != ReceiptKind::Recorded && position <= head)
            else {
                continue;
            };
            let note = match kind {
                ReceiptKind::Rejected => store.rejection(answer).await?,
                ReceiptKind::Recorded | ReceiptKind::NothingRecorded => None,
            };
            out.line(&AnswerLine {
                answer,
                kind,
                position,
                note,
            })
            .await?;
            answers += 1;
        }
    }
}

/// The number of positions for which the commands are held in memory at a time, at 24 bytes each.
const POSITIONS_PER_WINDOW: u64 = 1_000_000;
/// The number of receipts that are read at once.
const RECEIPTS_PER_PAGE: usize = 10_000;

/// The command that ends at each position. Stores return receipts in the order of command ids, so
/// all receipts are read once for each window of the log.
#[derive(Default)]
struct Commands {
    /// The last position of the window that is in memory.
    end: Position,
    by_position: HashMap<Position, CommandId>,
}

impl Commands {
    async fn ending_at(
        &mut self,
        store: &dyn FollowerStore,
        position: Position,
    ) -> Result<Option<CommandId>, ArchiveError> {
        if position > self.end {
            self.read(store, position).await?;
        }
        Ok(self.by_position.get(&position).copied())
    }

    async fn read(
        &mut self,
        store: &dyn FollowerStore,
        start: Position,
    ) -> Result<(), ArchiveError> {
        self.by_position.clear();
        self.end = Position::new(start.as_u64().saturating_add(POSITIONS_PER_WINDOW));
        let mut after = None;
        loop {
            let receipts = audit_of(store)?.receipts(after, RECEIPTS_PER_PAGE).await?;
            let Some(last) = receipts.last() else {
                return Ok(());
            };
            after = last.command_id;
            let within = receipts.iter().filter(|receipt| {
                receipt.kind == ReceiptKind::Recorded
                    && start <= receipt.position
                    && receipt.position <= self.end
            });
            self.by_position
                .extend(within.filter_map(|receipt| Some((receipt.position, receipt.command_id?))));
        }
    }
}

/// The place of a follower among the events.
struct Place {
    follower: CutFollower,
    /// The last event up to the follower's position.
    after: Option<EventRef>,
    /// The checksums of the events that the follower should have processed.
    expected: BTreeMap<LogSlice, LogChecksum>,
}

impl Place {
    fn new(follower: CutFollower) -> Self {
        Self {
            follower,
            after: None,
            expected: BTreeMap::new(),
        }
    }

    fn pass(&mut self, event: &StoredEvent) {
        let StoredEvent {
            position,
            stream,
            version,
            ..
        } = event;
        let follower = &self.follower;

        if *position > follower.notes.position {
            return;
        }
        self.after = Some(EventRef::new(stream, *version));
        if follower.takes.contains(&stream.category) && follower.partition.contains(stream) {
            self.expected
                .entry(LogSlice::of(*position))
                .or_default()
                .add(stream, *version);
        }
    }

    async fn write(self, out: &mut ArchiveWriter<'_>) -> Result<(), ArchiveError> {
        let CutFollower {
            name,
            takes,
            partition,
            notes,
        } = self.follower;
        let expected = sum(self.expected);
        let noted = sum(accounted(&notes)?);

        let difference = (
            noted.count.cast_signed() - expected.count.cast_signed(),
            noted.digest ^ expected.digest,
        );
        out.line(&FollowerLine {
            follower: name.clone(),
            takes,
            partition: (partition.count() > 1).then(|| (partition.number(), partition.count())),
            after: self.after,
            differs_by: (expected != noted).then_some(difference),
        })
        .await?;
        let notes = notes
            .notes
            .into_iter()
            .filter(|(key, _)| is_copied_unchanged(key) || is_of_positions(key));
        for (key, note) in notes {
            out.line(&NoteLine {
                of: name.clone(),
                key,
                note,
            })
            .await?;
        }
        Ok(())
    }
}

fn sum(slices: BTreeMap<LogSlice, LogChecksum>) -> LogChecksum {
    slices
        .into_values()
        .fold(LogChecksum::default(), |mut sum, checksums| {
            sum.merge(checksums);
            sum
        })
}
