//! [`MemoryStore`]: the whole contract in memory, for tests and trials. Nothing survives the
//! process.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Acknowledged, Append, Appended, AuditStore, CommandId, Commands, Cut, Direction, Epoch,
    EventStore, Expected, Fingerprint, FollowerNotes, FollowerPosition, FollowerStore,
    FollowersQuery, HolderId, Lease, LeaseHolder, LeaseRequest, LeaseToken, Load, Loaded,
    LoadedEvent, LogChecksum, LogChecksumsQuery, LogId, LogPage, LogQuery, LogSlice, Name,
    NewEvent, NewSnapshot, NotesQuery, Position, Receipt, ReceiptKind, Revision, SharedAnswer,
    SharedCommand, StoreError, StoredEvent, StoredSnapshot, StreamId, StreamQuery, Tracking,
    Version, VisibleLog, noted_rejection,
};

/// A store in memory. Clones share one log.
///
/// ```
/// use eventsourcing_core::store::{EventStore, MemoryStore, Position};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// assert_eq!(store.head().await.unwrap(), Position::ZERO);
/// # });
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    log_id: LogId,
    data: Arc<RwLock<Data>>,
    /// The epoch, and the end of the log.
    head: watch::Sender<(Epoch, Position)>,
}

/// The content of a [`MemoryStore`] at one moment.
#[derive(Clone)]
pub struct MemoryBackup(Data);

impl fmt::Debug for MemoryBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackup")
            .field("head", &self.0.head())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Data {
    epoch: Epoch,
    /// The events. Position p is at index p - 1.
    log: Vec<StoredEvent>,
    streams: HashMap<StreamId, Stream>,
    tracking: HashMap<(Name, LogId), FollowerNotes>,
    receipts: BTreeMap<CommandId, Receipt>,
    leases: HashMap<(Name, LogId), Held>,
}

#[derive(Clone, Default)]
struct Stream {
    /// Index into the log of each event, in order of version.
    events: Vec<usize>,
    snapshots: HashMap<Fingerprint, BTreeMap<Version, StoredSnapshot>>,
}

#[derive(Clone)]
struct Held {
    holder: HolderId,
    token: LeaseToken,
    until: Instant,
}

impl MemoryStore {
    /// Returns an empty store.
    #[expect(clippy::new_without_default, reason = "two calls give two logs")]
    #[must_use]
    pub fn new() -> Self {
        Self {
            log_id: LogId::new(),
            data: Arc::default(),
            head: watch::Sender::default(),
        }
    }

    /// Returns everything the store holds at this moment, to be [restored](Self::restore) later.
    #[must_use]
    pub fn backup(&self) -> MemoryBackup {
        MemoryBackup(self.read().clone())
    }

    /// Forgets the writes since `backup`, like a server that is restored from a copy or has lost
    /// its last commits. The next epoch begins, and positions are assigned again.
    pub fn restore(&self, backup: &MemoryBackup) {
        let mut data = self.write();
        *data = Data {
            epoch: data.epoch.next(),
            ..backup.0.clone()
        };
        self.head.send_replace((data.epoch, data.head()));
    }

    /// Locks the data. A panic while the lock is held cannot leave the data half changed, because
    /// everything is checked before anything is written; so a poisoned lock is used all the same.
    fn read(&self) -> RwLockReadGuard<'_, Data> {
        self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Data> {
        self.data.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.validate()?;
        let append = append.with_rejection_as_note(self.log_id);
        let mut data = self.write();
        if let Some(receipt) = data.only_receipt(&append.commands) {
            return Ok(Appended::repeated(receipt));
        }
        data.check_repeated(&append.commands)?;
        append.check_epoch(data.epoch)?;
        data.check(&append)?;
        let appended = data.apply(self.log_id, append);
        self.head.send_replace((data.epoch, data.head()));
        Ok(appended)
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let data = self.read();
        let events = data.range(&query.stream, query.from, query.to).cloned();
        Ok(match query.direction {
            Direction::Forwards => events.take(query.limit).collect(),
            Direction::Backwards => events.rev().take(query.limit).collect(),
        })
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        let data = self.read();
        let snapshot = load
            .fingerprint
            .and_then(|fingerprint| data.snapshot(&load, fingerprint));
        let after = snapshot
            .as_ref()
            .map_or(load.after, |snapshot| snapshot.version);
        let events = data
            .range(&load.stream, after.next(), load.to)
            .take(load.limit)
            .map(LoadedEvent::from)
            .collect();
        Ok(Loaded { snapshot, events })
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let data = self.read();
        data.epoch.check(query.epoch)?;
        let wanted = data
            .after(query.after)
            .iter()
            .filter(|event| query.filter.allows(event));
        let events: Vec<_> = wanted.take(query.limit.max(1)).cloned().collect();
        let ceiling = match events.last() {
            Some(last) if events.len() == query.limit.max(1) => last.position,
            _ => data.head().max(query.after).max(query.decided),
        };
        Ok(LogPage {
            events,
            ceiling,
            epoch: data.epoch,
        })
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.read().head())
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        Ok(self.read().head())
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        let data = self.read();
        let before = position.as_u64().checked_sub(1).map(Position::new);
        let event = before.and_then(|before| data.after(before).first().cloned());
        Ok(VisibleLog {
            epoch: data.epoch,
            end: data.head(),
            event,
        })
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        Ok(self.read().receipts.get(&command_id).copied())
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        noted_rejection(self, command_id).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        let mut known = self.head.subscribe();
        let epoch = epoch.unwrap_or(known.borrow().0);
        let news = known
            .wait_for(|(current, head)| *current != epoch || *head > position)
            .await;
        let (current, head) = *news.expect("the sender lives as long as this store");
        current.check(Some(epoch))?;
        Ok(head)
    }

    fn epoch(&self) -> Epoch {
        self.head.borrow().0
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        Ok(Acknowledged::InMemory)
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }
}

#[async_trait]
impl FollowerStore for MemoryStore {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        Ok(self.read().position_of(follower, upstream))
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        Ok(self.read().followers(query))
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        Ok(self.read().notes(query))
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        request.validate()?;
        Ok(self.write().lease(request, Instant::now()))
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        let data = self.read();
        let now = Instant::now();
        let held = data
            .leases
            .get(&(follower.clone(), upstream))
            .filter(|held| held.until > now);
        Ok(held.map(|held| LeaseHolder {
            holder: held.holder,
            token: held.token,
            expires_in: held.until - now,
        }))
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        let mut data = self.write();
        if let Some(held) = data.leases.get_mut(&(follower.clone(), upstream))
            && held.token == token
        {
            held.until = Instant::now();
        }
        Ok(())
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .read()
            .receipts
            .range((from, Bound::Unbounded))
            .map(|(_, receipt)| *receipt)
            .take(limit)
            .collect())
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        let data = self.read();
        let range = data
            .after(query.after)
            .iter()
            .take_while(|event| event.position <= query.to);
        let mut slices = BTreeMap::<_, LogChecksum>::new();
        for event in range.filter(|event| query.filter.allows(event)) {
            slices
                .entry(LogSlice::of(event.position))
                .or_default()
                .add(&event.stream, event.version);
        }
        Ok(slices)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("log_id", &self.log_id)
            .finish_non_exhaustive()
    }
}

/// Returns the sort key of a follower in the list of all.
fn place_of((follower, upstream): &(Name, LogId)) -> (&str, Uuid) {
    (follower.as_str(), upstream.as_uuid())
}

impl Data {
    fn head(&self) -> Position {
        Position::new(self.log.len() as u64)
    }

    fn after(&self, position: Position) -> &[StoredEvent] {
        let start = usize::try_from(position.as_u64()).unwrap_or(usize::MAX);
        self.log.get(start..).unwrap_or_default()
    }

    fn version_of(&self, stream: &StreamId) -> Version {
        Version::new(
            self.streams
                .get(stream)
                .map_or(0, |stream| stream.events.len() as u64),
        )
    }

    fn position_of(&self, follower: &Name, upstream: LogId) -> Position {
        self.tracking
            .get(&(follower.clone(), upstream))
            .map_or(Position::ZERO, |book| book.position)
    }

    fn followers(&self, FollowersQuery { after, limit }: FollowersQuery) -> Vec<FollowerPosition> {
        let is_wanted = |key: &&(Name, LogId)| {
            after
                .as_ref()
                .is_none_or(|after| place_of(key) > place_of(after))
        };
        let have_made_a_step = self
            .tracking
            .iter()
            .filter(|(_, book)| book.revision > Revision::ZERO);
        let mut keys: Vec<_> = have_made_a_step
            .map(|(key, _)| key)
            .filter(is_wanted)
            .collect();
        keys.sort_unstable_by_key(|key| place_of(key));
        keys.truncate(limit);
        let position = |key: &(Name, LogId)| {
            let FollowerNotes {
                position, revision, ..
            } = self.tracking[key];
            FollowerPosition {
                follower: key.0.clone(),
                upstream: key.1,
                position,
                revision,
            }
        };
        keys.into_iter().map(position).collect()
    }

    fn notes(&self, query: NotesQuery) -> FollowerNotes {
        let NotesQuery {
            follower,
            upstream,
            prefix,
            after,
            limit,
        } = query;
        let Some(book) = self.tracking.get(&(follower, upstream)) else {
            return FollowerNotes::default();
        };
        let from = if after < prefix {
            Bound::Included(&*prefix)
        } else {
            Bound::Excluded(&*after)
        };
        let wanted = book.notes.range::<str, _>((from, Bound::Unbounded));
        let wanted = wanted
            .take_while(|(key, _)| key.starts_with(&prefix))
            .take(limit);
        let notes = wanted
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        FollowerNotes { notes, ..*book }
    }

    fn range(
        &self,
        stream: &StreamId,
        from: Version,
        to: Version,
    ) -> impl DoubleEndedIterator<Item = &StoredEvent> {
        let indices = self
            .streams
            .get(stream)
            .map_or(&[][..], |stream| &stream.events);
        let start = Version::since(from, Version::FIRST).min(indices.len() as u64) as usize;
        let end = to.as_u64().min(indices.len() as u64) as usize;
        indices[start..end.max(start)]
            .iter()
            .map(|index| &self.log[*index])
    }

    fn snapshot(&self, load: &Load, fingerprint: Fingerprint) -> Option<StoredSnapshot> {
        let snapshots = self
            .streams
            .get(&load.stream)?
            .snapshots
            .get(&fingerprint)?;
        let newest = snapshots.range(..=load.to).next_back();
        newest
            .filter(|(version, _)| **version > load.after)
            .map(|(_, snapshot)| snapshot.clone())
    }

    /// The first receipt of the command that all of an append belongs to.
    fn only_receipt(&self, commands: &Commands) -> Option<Receipt> {
        self.receipts.get(&commands.only()?).copied()
    }

    /// Refuses an append if one of several commands was answered before.
    fn check_repeated(&self, commands: &Commands) -> Result<(), StoreError> {
        let known = |command: &SharedCommand| self.receipts.get(&command.id).copied();
        let receipts: Vec<_> = commands.shared().iter().filter_map(known).collect();
        if receipts.is_empty() {
            return Ok(());
        }
        Err(StoreError::Repeated { receipts })
    }

    fn check(&self, append: &Append) -> Result<(), StoreError> {
        if let Some(tracking) = &append.tracking {
            self.check_tracking(tracking)?;
        }
        for part in &append.streams {
            self.check_expected(&part.stream, part.expected)?;
        }
        append
            .snapshots
            .iter()
            .try_for_each(|snapshot| self.check_snapshot(append, snapshot))
    }

    fn check_tracking(&self, tracking: &Tracking) -> Result<(), StoreError> {
        self.check_lease(tracking)?;
        self.check_cut(tracking)?;
        let book = self
            .tracking
            .get(&(tracking.follower.clone(), tracking.upstream));
        let (actual, revision) =
            book.map_or_else(Default::default, |book| (book.position, book.revision));
        if actual == tracking.from && tracking.revision.is_none_or(|wanted| wanted == revision) {
            return Ok(());
        }
        Err(StoreError::TrackingConflict {
            follower: tracking.follower.clone(),
            expected: tracking.from,
            actual,
        })
    }

    fn check_lease(&self, tracking: &Tracking) -> Result<(), StoreError> {
        let Some(token) = tracking.lease else {
            return Ok(());
        };
        let held = self
            .leases
            .get(&(tracking.follower.clone(), tracking.upstream));
        let current = held.map_or(LeaseToken::new(0), |held| held.token);
        if token == current {
            return Ok(());
        }
        Err(StoreError::LeaseLost {
            follower: tracking.follower.clone(),
            token,
            current,
        })
    }

    fn check_cut(&self, tracking: &Tracking) -> Result<(), StoreError> {
        let Some(Cut {
            follower,
            partitions,
        }) = &tracking.cut
        else {
            return Ok(());
        };
        let whole = self.tracking.get(&(follower.clone(), tracking.upstream));
        match whole.and_then(|book| book.partitions) {
            Some(actual) if actual != *partitions => Err(StoreError::CutChanged {
                follower: follower.clone(),
                expected: *partitions,
                actual,
            }),
            _ => Ok(()),
        }
    }

    fn lease(&mut self, request: LeaseRequest, now: Instant) -> Lease {
        let LeaseRequest {
            follower,
            upstream,
            holder,
            duration,
        } = request;
        let position = self.position_of(&follower, upstream);
        let until = now + duration;
        let key = (follower, upstream);
        let token = match self.leases.get(&key) {
            Some(held) if held.holder != holder && held.until > now => {
                return Lease::Taken {
                    holder: held.holder,
                    expires_in: held.until - now,
                };
            }
            Some(held) if held.holder == holder => held.token,
            Some(held) => LeaseToken::new(held.token.as_u64() + 1),
            None => LeaseToken::new(1),
        };
        self.leases.insert(
            key,
            Held {
                holder,
                token,
                until,
            },
        );
        Lease::Held { token, position }
    }

    fn check_expected(&self, stream: &StreamId, expected: Expected) -> Result<(), StoreError> {
        let actual = self.version_of(stream);
        if expected.allows(actual) {
            return Ok(());
        }
        Err(StoreError::Conflict {
            stream: stream.clone(),
            expected,
            actual,
        })
    }

    fn check_snapshot(&self, append: &Append, snapshot: &NewSnapshot) -> Result<(), StoreError> {
        let part = append
            .streams
            .iter()
            .find(|part| part.stream == snapshot.stream);
        let appended = part.map_or(0, |part| part.events.len() as u64);
        snapshot.check_within(self.version_of(&snapshot.stream).plus(appended))
    }

    fn apply(&mut self, log: LogId, append: Append) -> Appended {
        let kind = append.receipt_kind();
        let before = self.head();
        for part in append.streams {
            for event in part.events {
                self.push(&part.stream, append.recorded_at, event);
            }
        }
        if let Some(tracking) = append.tracking {
            self.step(tracking);
        }
        for snapshot in append.snapshots {
            self.keep_snapshot(snapshot);
        }
        let position = match kind {
            ReceiptKind::NothingRecorded if append.commands.is_empty() => Position::ZERO,
            _ => self.head(),
        };
        let receipt = Receipt {
            log,
            kind,
            position,
            command_id: append.commands.only(),
        };
        let shared = append.commands.shared().iter().map(|command| Receipt {
            log,
            kind: command.answer.kind(),
            position: match command.answer {
                SharedAnswer::Recorded { last_event } => {
                    Position::new(before.as_u64() + last_event as u64 + 1)
                }
                SharedAnswer::NothingRecorded | SharedAnswer::Rejected => position,
            },
            command_id: Some(command.id),
        });
        let shared: Vec<_> = shared.collect();
        for receipt in std::iter::once(receipt).chain(shared.iter().copied()) {
            if let Some(id) = receipt.command_id {
                self.receipts.insert(id, receipt);
            }
        }
        Appended {
            shared,
            ..Appended::new(receipt)
        }
    }

    fn step(
        &mut self,
        Tracking {
            follower,
            upstream,
            to,
            last_event,
            cut,
            notes,
            ..
        }: Tracking,
    ) {
        if let Some(Cut {
            follower,
            partitions,
        }) = cut
        {
            self.tracking
                .entry((follower, upstream))
                .or_default()
                .partitions = Some(partitions);
        }
        let book = self.tracking.entry((follower, upstream)).or_default();
        book.position = to;
        book.revision = book.revision.next();
        book.last_event = last_event.or(book.last_event);
        for (key, value) in notes {
            match value {
                Some(value) => drop(book.notes.insert(key, value)),
                None => drop(book.notes.remove(&key)),
            }
        }
    }

    fn push(&mut self, id: &StreamId, recorded_at: Timestamp, event: NewEvent) {
        let stream = match self.streams.entry(id.clone()) {
            Entry::Occupied(stream) => stream.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Stream::default()),
        };
        stream.events.push(self.log.len());
        let version = Version::new(stream.events.len() as u64);
        let position = Position::new(self.log.len() as u64 + 1);
        let recorded_at =
            Timestamp::from_microsecond(recorded_at.as_microsecond()).unwrap_or(recorded_at);
        let NewEvent {
            name,
            schema_version,
            codec,
            payload,
            metadata,
        } = event;
        let stream = id.clone();
        let event = StoredEvent {
            position,
            stream,
            version,
            recorded_at,
            name,
            schema_version,
            codec,
            payload,
            metadata,
        };
        self.log.push(event);
    }

    fn keep_snapshot(&mut self, snapshot: NewSnapshot) {
        let NewSnapshot {
            stream,
            version,
            fingerprint,
            codec,
            payload,
        } = snapshot;
        let stored = StoredSnapshot {
            version,
            codec,
            payload,
        };
        let snapshots = &mut self.streams.entry(stream).or_default().snapshots;
        snapshots
            .entry(fingerprint)
            .or_default()
            .insert(version, stored);
    }
}
