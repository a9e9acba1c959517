//! [`Check`]: compares the notes of a follower with the log, slice by slice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::locate::{self, EventKey};

use crate::store::{
    EventHash, FollowerStore, LogChecksum, LogChecksumsQuery, LogQuery, LogSlice, Name, Position,
    StoreError, audit_of,
};
use crate::system::follower::Partition;
use crate::system::report::{
    Difference, EventPlace, Finding, FollowerVerification, VerifyProgress,
};

/// The number of slices whose checksums are asked for at once.
const SLICES_AT_ONCE: u64 = 10;
/// The maximum number of searches of the whole log for an event that was processed though the
/// follower does not take it. A search reads every event, so many differences must not cause one
/// each.
const SEARCHES_MAX: usize = 3;

/// The notes of one partition of a follower, or of the whole of it.
pub(super) struct Part {
    /// The name under which the notes are kept.
    pub(super) follower: Name,
    pub(super) partition: Partition,
    pub(super) position: Position,
    /// The checksums of the events it accounts for.
    pub(super) noted: BTreeMap<LogSlice, LogChecksum>,
}

/// The check of one follower in one log.
pub(super) struct Check {
    log: Arc<dyn FollowerStore>,
    takes: Vec<Name>,
    parts: Vec<Part>,
    /// The end of the comparison: the head of the log as this process sees it after the notes were
    /// read, or the position of the furthest part. A step to a position proves that the log was
    /// decided up to there, even if this process cannot see it yet: an append that is under way may
    /// hide events from it that another process has read long ago.
    head: Position,
    searches_left: usize,
    verification: FollowerVerification,
}

impl Check {
    pub(super) fn new(
        name: Name,
        log: Arc<dyn FollowerStore>,
        takes: Vec<Name>,
        parts: Vec<Part>,
    ) -> Self {
        let position = parts
            .iter()
            .map(|part| part.position)
            .min()
            .unwrap_or_default();
        let verification = FollowerVerification::new(name, log.log_id(), position);
        Self {
            log,
            takes,
            parts,
            head: Position::ZERO,
            searches_left: SEARCHES_MAX,
            verification,
        }
    }

    pub(super) async fn run(
        mut self,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<FollowerVerification, StoreError> {
        let furthest = self
            .parts
            .iter()
            .map(|part| part.position)
            .max()
            .unwrap_or_default();
        self.head = self.log.head().await?.max(furthest);
        let shared = self.shared_end();
        let end = self.end();

        let follower = self.verification.name.clone();
        let mut report = |position: Position| {
            progress(&VerifyProgress {
                follower: follower.clone(),
                position,
                end,
            });
        };
        let mut reached = Position::ZERO;
        report(reached);
        while reached < shared {
            let next = LogSlice::new(slice_after(reached).as_u64() + SLICES_AT_ONCE)
                .start()
                .min(shared);
            self.compare_together(reached, next).await?;
            reached = next;
            report(reached);
        }
        for number in slices_up_to(shared)..slices_up_to(end) {
            let slice = LogSlice::new(number);
            self.verification.slices += 1;
            self.verification.events += self.look_into(slice).await?;
            report(slice.end().min(end));
        }
        Ok(self.verification)
    }

    /// Returns the position up to which the checksums of all parts together can be compared with
    /// those of the log. Partitions differ in position, so from the slice of the last one on each
    /// part is compared alone.
    fn shared_end(&self) -> Position {
        let smallest = self.verification.position.min(self.head);
        match self.parts[..] {
            [_] => smallest,
            _ => slice_after(smallest).start(),
        }
    }

    /// Returns the end of the events that any part has processed, or claims to have processed.
    fn end(&self) -> Position {
        let furthest = self
            .parts
            .iter()
            .map(|part| part.position.min(self.head))
            .max()
            .unwrap_or_default();
        let noted = self
            .parts
            .iter()
            .filter_map(|part| part.noted.last_key_value().map(|(slice, _)| *slice))
            .max();
        match noted {
            Some(slice) if slice.start() >= furthest => slice.end(),
            _ => furthest,
        }
    }

    /// Compares the checksums of all parts together, from the start of a slice up to `to`.
    async fn compare_together(&mut self, after: Position, to: Position) -> Result<(), StoreError> {
        let expected = audit_of(&*self.log)?
            .checksums(LogChecksumsQuery::new(after, to).categories(self.takes.iter().cloned()))
            .await?;
        self.verification.events += expected
            .values()
            .map(|checksums| checksums.count)
            .sum::<u64>();
        self.verification.slices += slices_up_to(to) - slice_after(after).as_u64();
        let noted = self.noted_together(after, to);
        let slices: BTreeSet<_> = expected.keys().chain(noted.keys()).copied().collect();
        for slice in slices {
            if expected.get(&slice).copied().unwrap_or_default()
                != noted.get(&slice).copied().unwrap_or_default()
            {
                self.look_into(slice).await?;
            }
        }
        Ok(())
    }

    fn noted_together(&self, after: Position, to: Position) -> BTreeMap<LogSlice, LogChecksum> {
        let mut together = BTreeMap::<_, LogChecksum>::new();
        for part in &self.parts {
            for (slice, checksums) in part.noted.range(slice_after(after)..=LogSlice::of(to)) {
                together.entry(*slice).or_default().merge(*checksums);
            }
        }
        together
    }

    /// Compares each part alone with the events of the slice that it should have processed, and
    /// returns the number of all of them.
    async fn look_into(&mut self, slice: LogSlice) -> Result<u64, StoreError> {
        let events = self.events_of(slice).await?;
        let mut events_in_all = 0;
        for index in 0..self.parts.len() {
            let part = &self.parts[index];
            let is_its = |event: &&EventKey| {
                event.place.position <= part.position
                    && part.partition.contains(&event.place.stream)
            };
            let own: Vec<_> = events.iter().filter(is_its).collect();
            let expected = locate::checksums_of(own.iter().copied());
            let follower = part.follower.clone();
            let noted = part.noted.get(&slice).copied().unwrap_or_default();

            events_in_all += expected.count;
            if expected != noted {
                let finding = self.finding(&own, expected, noted).await?;
                self.verification.differences.push(Difference {
                    follower,
                    slice,
                    expected,
                    noted,
                    finding,
                });
            }
        }
        Ok(events_in_all)
    }

    /// Returns the events of the slice that the follower takes.
    async fn events_of(&self, slice: LogSlice) -> Result<Vec<EventKey>, StoreError> {
        let mut events = Vec::new();
        let mut after = slice.start();

        let end = slice.end().min(self.head);
        while after < end {
            let query = LogQuery::after(after)
                .categories(self.takes.iter().cloned())
                .decided_up_to(self.head);
            let page = self.log.read_log(query).await?;
            events.extend(
                page.events
                    .iter()
                    .filter(|event| event.position <= end)
                    .map(EventKey::new),
            );
            after = page.ceiling;
        }
        Ok(events)
    }

    async fn finding(
        &mut self,
        own: &[&EventKey],
        expected: LogChecksum,
        noted: LogChecksum,
    ) -> Result<Finding, StoreError> {
        if let Some(finding) = locate::among(own, expected, noted) {
            return Ok(finding);
        }
        let strays = locate::strays(own, expected, noted);
        if strays.is_empty() || self.searches_left == 0 {
            return Ok(Finding::Unclear);
        }
        self.searches_left -= 1;
        let found = self.search(&strays).await?;
        Ok(
            found.map_or(Finding::Unclear, |(by, missing)| match missing {
                Some(missing) => Finding::Replaced {
                    missing: missing.clone(),
                    by,
                },
                None => Finding::Stray(by),
            }),
        )
    }

    /// Returns the first event of the whole log that is among the strays, with the event that it
    /// replaces.
    async fn search<'a>(
        &self,
        strays: &HashMap<EventHash, Option<&'a EventPlace>>,
    ) -> Result<Option<(EventPlace, Option<&'a EventPlace>)>, StoreError> {
        let mut after = Position::ZERO;
        while after < self.head {
            let page = self
                .log
                .read_log(LogQuery::after(after).decided_up_to(self.head))
                .await?;
            for event in page.events.iter().map(EventKey::new) {
                if let Some(missing) = strays.get(&event.digest) {
                    return Ok(Some((event.place, *missing)));
                }
            }
            after = page.ceiling;
        }
        Ok(None)
    }
}

/// Returns the slice of the next position.
fn slice_after(position: Position) -> LogSlice {
    LogSlice::new(position.as_u64() / LogSlice::POSITIONS)
}

/// Returns the number of slices that have begun at this position.
fn slices_up_to(position: Position) -> u64 {
    position.as_u64().div_ceil(LogSlice::POSITIONS)
}
