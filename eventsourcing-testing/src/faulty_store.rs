//! [`FaultyStore`]: a store that fails on demand, for tests of the reaction of a program.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::sql::Database;
use eventsourcing_core::store::{
    Acknowledged, Append, Appended, AuditStore, CommandId, Epoch, EventStore, FollowerNotes,
    FollowerPosition, FollowerStore, FollowersQuery, Lease, LeaseHolder, LeaseRequest, LeaseToken,
    Load, Loaded, LogChecksum, LogChecksumsQuery, LogHolder, LogId, LogPage, LogQuery, LogSlice,
    Name, NotesQuery, Position, Receipt, StoreError, StoredEvent, StreamId, StreamQuery, Version,
    VisibleLog, Written, audit_of,
};

use super::Seed;

/// The poll interval of waits on a log that is held back.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`EventStore::append`].
    Append,
    /// [`EventStore::read_stream`].
    ReadStream,
    /// [`EventStore::load`].
    Load,
    /// [`EventStore::read_log`].
    ReadLog,
    /// [`EventStore::head`].
    Head,
    /// [`EventStore::newest_position`].
    NewestPosition,
    /// [`EventStore::visible`].
    Visible,
    /// [`EventStore::receipt`].
    Receipt,
    /// [`EventStore::rejection`].
    Rejection,
    /// [`AuditStore::receipts`].
    Receipts,
    /// [`FollowerStore::tracking`].
    Tracking,
    /// [`FollowerStore::followers`].
    Followers,
    /// [`FollowerStore::notes`].
    Notes,
    /// [`AuditStore::checksums`].
    Checksums,
    /// [`FollowerStore::lease`].
    Lease,
    /// [`FollowerStore::lease_holder`].
    LeaseHolder,
    /// [`FollowerStore::release`].
    Release,
    /// [`EventStore::wait_beyond`].
    WaitBeyond,
}

/// A fault of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store is not reachable: [`StoreError::Unavailable`], which says that nothing was written. The operation is not carried
    /// out.
    Unavailable,
    /// The operation is carried out, and the reply is lost: [`StoreError::Unavailable`], which says that it is not known if anything
    /// was written.
    LostReply,
    /// Another writer was first: [`StoreError::Conflict`] on the first stream of an append, and nothing is written. The actual
    /// version is the one that a reload shows. Without a stream to conflict on, the same as [`Unavailable`](Self::Unavailable).
    Conflict,
    /// The operation begins after this time, and then succeeds.
    Delay(Duration),
}

/// The rates of random faults, as shares of all calls from 0 to 1. The kinds are tried in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// The rate of [`Fault::Unavailable`].
    pub unavailable: f64,
    /// The rate of [`Fault::LostReply`].
    pub lost_reply: f64,
    /// The rate of [`Fault::Conflict`], among appends only.
    pub conflict: f64,
    /// The rate of [`Fault::Delay`].
    pub delay: f64,
    /// The longest delay.
    pub delay_max: Duration,
    /// The rate of reads of the log that see no further than an earlier one, as if other writers were slow to commit.
    pub late: f64,
}

/// Wraps a store and makes some of its operations fail: those named by a script, and others at random from a seed.
///
/// The store counts the calls of each operation, and its faults can be switched off to inspect the result.
///
/// ```
/// use eventsourcing_core::store::{Append, CodecId, CommandId, EventStore, Expected, MemoryStore, NewEvent, StreamId};
/// use eventsourcing_testing::{Fault, FaultyStore, ManualClock, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let store = FaultyStore::new(MemoryStore::new()).with_fault(Operation::Append, 1, Fault::LostReply);
///
/// let event = NewEvent {
///     name: "Opened".into(),
///     schema_version: 1,
///     codec: CodecId(1),
///     payload: b"{}".to_vec(),
///     metadata: Vec::new(),
/// };
/// let open = Append::new(ManualClock::START)
///     .with_events(StreamId::new("Account", uuid::Uuid::nil()), Expected::NoStream, vec![event])
///     .with_command_id(CommandId::new());
///
/// assert!(store.append(open.clone()).await.is_err(), "the first reply is lost");
/// assert!(store.append(open).await.unwrap().repeated, "the retry learns that the event was written");
/// assert_eq!(store.calls(Operation::Append), 2);
/// # });
/// ```
#[derive(Debug)]
pub struct FaultyStore<S> {
    store: S,
    on: AtomicBool,
    plan: Mutex<Plan>,
}

#[derive(Debug)]
struct Plan {
    calls: HashMap<Operation, u64>,
    script: HashMap<(Operation, u64), Fault>,
    rates: FaultRates,
    /// The number of calls until the crash.
    life: Option<u64>,
    /// The position up to which reads of the log have seen.
    seen: Position,
    /// `true` while reads see no further than `seen`.
    is_held_back: bool,
    rng: fastrand::Rng,
}

impl<S: EventStore> FaultyStore<S> {
    /// Wraps `store`, without any fault.
    pub fn new(store: S) -> Self {
        let rng = Seed::new(0).rng(0);
        let plan = Plan {
            calls: HashMap::new(),
            script: HashMap::new(),
            rates: FaultRates::default(),
            life: None,
            seen: Position::ZERO,
            is_held_back: false,
            rng,
        };
        Self {
            store,
            on: AtomicBool::new(true),
            plan: Mutex::new(plan),
        }
    }

    /// Makes the `nth` call of `operation`, counted from 1, fail with `fault`.
    #[must_use]
    pub fn with_fault(self, operation: Operation, nth: u64, fault: Fault) -> Self {
        self.fail_call(operation, nth, fault);
        self
    }

    /// Makes calls fail at random. A single task that makes the same calls with the same seed meets the same faults.
    #[must_use]
    pub fn with_rates(self, seed: Seed, rates: FaultRates) -> Self {
        {
            let mut plan = self.lock();
            plan.rates = rates;
            plan.rng = seed.rng(0);
        }
        self
    }

    /// Simulates a crash of the process in its `nth` call, counted over all operations: that call is carried out and its reply is
    /// lost, and later calls do not reach the store. Another `FaultyStore` around the same store is the next process.
    #[must_use]
    pub fn with_crash_in(self, nth: u64) -> Self {
        self.lock().life = Some(nth);
        self
    }

    /// Returns `true` after the crash.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.lock().life == Some(0)
    }

    /// Makes the `nth` call of `operation`, counted from 1 since the store was made, fail with `fault`.
    pub fn fail_call(&self, operation: Operation, nth: u64, fault: Fault) {
        self.lock().script.insert((operation, nth), fault);
    }

    /// Makes the next call of `operation` fail with `fault`.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        let mut plan = self.lock();
        let next = plan.calls.get(&operation).copied().unwrap_or_default() + 1;
        plan.script.insert((operation, next), fault);
    }

    /// Switches all faults off. Calls are still counted.
    pub fn switch_off(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    /// Switches the faults on again. Faults of calls that were made meanwhile are skipped.
    pub fn switch_on(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// Makes reads of the log see no further than `seen`, as during an append of another process at the next position: later events
    /// can be loaded, and are not beyond the [newest position](EventStore::newest_position).
    pub fn hold_back(&self, seen: Position) {
        let mut plan = self.lock();
        (plan.seen, plan.is_held_back) = (seen, true);
    }

    /// Makes reads of the log see everything again.
    pub fn let_go(&self) {
        self.lock().is_held_back = false;
    }

    /// Returns the number of calls of `operation`.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock()
            .calls
            .get(&operation)
            .copied()
            .unwrap_or_default()
    }

    /// Returns the wrapped store, which does not fail and counts nothing.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Counts a call, and fails or delays it as planned. A returned fault applies after the operation.
    async fn begin(&self, operation: Operation) -> Result<Option<Fault>, StoreError> {
        let fault = {
            let mut plan = self.lock();
            let fault = plan
                .fault_of_next(operation)
                .filter(|_| self.on.load(Ordering::SeqCst));
            plan.live_on(fault)
        };
        match fault {
            Some(Fault::Unavailable) => Err(unavailable(operation)),
            Some(Fault::Conflict) if operation != Operation::Append => Err(unavailable(operation)),
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Returns the visible part of a page, for a reader that knows that the log is decided up to `known`.
    fn see(&self, mut page: LogPage, known: Position) -> LogPage {
        let end = self.lock().sight(page.ceiling).max(known.min(page.ceiling));
        page.events.retain(|event| event.position <= end);
        page.ceiling = end;
        page
    }

    async fn conflict(&self, append: &Append) -> StoreError {
        let Some(part) = append.streams.first() else {
            return unavailable(Operation::Append);
        };
        match self.version_of(&part.stream).await {
            Ok(actual) => StoreError::Conflict {
                stream: part.stream.clone(),
                expected: part.expected,
                actual,
            },
            Err(error) => error,
        }
    }

    async fn version_of(&self, stream: &StreamId) -> Result<Version, StoreError> {
        let newest = self
            .store
            .read_stream(StreamQuery::new(stream.clone()).backwards().limit(1))
            .await?;
        Ok(newest.last().map_or(Version::ZERO, |event| event.version))
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn fault_of_next(&mut self, operation: Operation) -> Option<Fault> {
        let calls = self.calls.entry(operation).or_default();
        *calls += 1;
        let scripted = self.script.remove(&(operation, *calls));
        scripted.or_else(|| self.random_fault(operation))
    }

    /// Counts one call towards the crash and returns its fault.
    fn live_on(&mut self, fault: Option<Fault>) -> Option<Fault> {
        match &mut self.life {
            None => fault,
            Some(0) => Some(Fault::Unavailable),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    Some(Fault::LostReply)
                } else {
                    fault
                }
            }
        }
    }

    /// Returns the position up to which a read sees a log whose end is at `head`.
    fn sight(&mut self, head: Position) -> Position {
        if !self.is_held_back && self.rng.f64() >= self.rates.late {
            self.seen = self.seen.max(head);
        }
        self.seen.min(head)
    }

    /// Returns `true` if reads are held back at or before this position.
    fn hides_after(&self, position: Position) -> bool {
        self.is_held_back && self.seen <= position
    }

    fn random_fault(&mut self, operation: Operation) -> Option<Fault> {
        let FaultRates {
            unavailable,
            lost_reply,
            conflict,
            delay,
            delay_max,
            ..
        } = self.rates;
        let conflict = if operation == Operation::Append {
            conflict
        } else {
            0.0
        };
        let kinds = [
            (unavailable, Fault::Unavailable),
            (lost_reply, Fault::LostReply),
            (conflict, Fault::Conflict),
        ];
        for (rate, fault) in kinds {
            if self.rng.f64() < rate {
                return Some(fault);
            }
        }
        (self.rng.f64() < delay).then(|| Fault::Delay(delay_max.mul_f64(self.rng.f64())))
    }
}

/// Returns the error of an operation that was not carried out.
fn unavailable(operation: Operation) -> StoreError {
    let reason = format!("{operation:?} is not carried out, as the test demands");
    StoreError::Unavailable {
        reason,
        written: Written::Nothing,
        source: None,
    }
}

fn lost_reply(operation: Operation) -> StoreError {
    let reason = format!("{operation:?} is carried out and the reply is lost, as the test demands");
    StoreError::Unavailable {
        reason,
        written: Written::Unknown,
        source: None,
    }
}

/// Returns the reply to an operation that was carried out: its result, unless the reply is lost.
fn reply<T>(
    operation: Operation,
    fault: Option<Fault>,
    result: Result<T, StoreError>,
) -> Result<T, StoreError> {
    match fault {
        Some(Fault::LostReply) => Err(lost_reply(operation)),
        _ => result,
    }
}

#[async_trait]
impl<S: EventStore> EventStore for FaultyStore<S> {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        let fault = self.begin(Operation::Append).await?;
        if fault == Some(Fault::Conflict) {
            return Err(self.conflict(&append).await);
        }
        reply(Operation::Append, fault, self.store.append(append).await)
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let fault = self.begin(Operation::ReadStream).await?;
        reply(
            Operation::ReadStream,
            fault,
            self.store.read_stream(query).await,
        )
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        let fault = self.begin(Operation::Load).await?;
        reply(Operation::Load, fault, self.store.load(load).await)
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let fault = self.begin(Operation::ReadLog).await?;
        let known = query.after.max(query.decided);
        let page = self
            .store
            .read_log(query)
            .await
            .map(|page| self.see(page, known));
        reply(Operation::ReadLog, fault, page)
    }

    async fn head(&self) -> Result<Position, StoreError> {
        let fault = self.begin(Operation::Head).await?;
        let head = self.store.head().await;
        reply(
            Operation::Head,
            fault,
            head.map(|head| self.lock().sight(head)),
        )
    }

    /// Returns the position of the newest event, even if reads do not see it yet.
    async fn newest_position(&self) -> Result<Position, StoreError> {
        let fault = self.begin(Operation::NewestPosition).await?;
        reply(
            Operation::NewestPosition,
            fault,
            self.store.newest_position().await,
        )
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        let fault = self.begin(Operation::Receipt).await?;
        reply(
            Operation::Receipt,
            fault,
            self.store.receipt(command_id).await,
        )
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        let fault = self.begin(Operation::Rejection).await?;
        reply(
            Operation::Rejection,
            fault,
            self.store.rejection(command_id).await,
        )
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        let fault = self.begin(Operation::Visible).await?;
        reply(
            Operation::Visible,
            fault,
            self.store.visible(position).await,
        )
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        let fault = self.begin(Operation::WaitBeyond).await?;
        let mut waited = self.store.wait_beyond(position, epoch).await;
        while waited.is_ok() && self.lock().hides_after(position) {
            tokio::time::sleep(LOOK_INTERVAL).await;
            waited = self.store.wait_beyond(position, epoch).await;
        }
        reply(Operation::WaitBeyond, fault, waited)
    }

    /// Never fails, because it asks nothing of a server.
    async fn log_holders(&self) -> Result<Vec<LogHolder>, StoreError> {
        self.store.log_holders().await
    }

    /// Never fails, because it asks nothing of a server.
    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        self.store.acknowledged().await
    }

    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn log_id(&self) -> LogId {
        self.store.log_id()
    }
}

#[async_trait]
impl<S: FollowerStore> FollowerStore for FaultyStore<S> {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        let fault = self.begin(Operation::Tracking).await?;
        reply(
            Operation::Tracking,
            fault,
            self.store.tracking(follower, upstream).await,
        )
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        let fault = self.begin(Operation::Followers).await?;
        reply(
            Operation::Followers,
            fault,
            self.store.followers(query).await,
        )
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        let fault = self.begin(Operation::Notes).await?;
        reply(Operation::Notes, fault, self.store.notes(query).await)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        let fault = self.begin(Operation::Lease).await?;
        reply(Operation::Lease, fault, self.store.lease(request).await)
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        let fault = self.begin(Operation::LeaseHolder).await?;
        reply(
            Operation::LeaseHolder,
            fault,
            self.store.lease_holder(follower, upstream).await,
        )
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        let fault = self.begin(Operation::Release).await?;
        reply(
            Operation::Release,
            fault,
            self.store.release(follower, upstream, token).await,
        )
    }

    /// Returns the database of the wrapped store. Its transactions do not fail: faults apply to the operations above only.
    fn database(&self) -> Option<Arc<dyn Database>> {
        self.store.database()
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        self.store.audit().map(|_| self as _)
    }
}

#[async_trait]
impl<S: FollowerStore> AuditStore for FaultyStore<S> {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let fault = self.begin(Operation::Receipts).await?;
        reply(
            Operation::Receipts,
            fault,
            audit_of(&self.store)?.receipts(after, limit).await,
        )
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        let fault = self.begin(Operation::Checksums).await?;
        reply(
            Operation::Checksums,
            fault,
            audit_of(&self.store)?.checksums(query).await,
        )
    }
}
