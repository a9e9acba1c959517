//! Recently updated aggregates, always checked by the append's expected version. Each has an entry, and a command holds the locks of
//! the entries it updates: within a process, commands on one aggregate do not run into each other.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use smallvec::SmallVec;

use super::batch::{CommandBatch, Contents};
use crate::aggregate::root::KeptRoot;
use crate::store::{Epoch, StreamId};
use crate::{Aggregate, Id, Root};

/// The entries of the aggregates used last.
pub(crate) struct Cache {
    /// `None`: nothing is cached.
    entries: Option<Mutex<LruCache<StreamId, CacheEntry>>>,
}

/// The place of one aggregate. Evicting an entry while a command holds it is harmless: it only costs conflicts.
#[derive(Clone, Default)]
pub(crate) struct CacheEntry(Arc<Shared>);

#[derive(Default)]
struct Shared {
    root: tokio::sync::Mutex<CachedRoot>,
    /// The number of commands that wait for the lock.
    waiters: AtomicUsize,
}

/// The content of an entry.
#[derive(Default)]
pub(crate) enum CachedRoot {
    #[default]
    Empty,
    /// All events of the root are written.
    Written(Box<dyn KeptRoot>),
    /// The batch has the root, with events that are not written yet, or has just been settled.
    InBatch(Arc<CommandBatch>),
}

/// The entries that one command updates, in the order of their streams, each once.
pub(super) struct Entries(SmallVec<[(StreamId, CacheEntry); 2]>);

/// The right to use the content of an entry.
pub(super) struct EntryLock<'a> {
    pub(super) stream: &'a StreamId,
    pub(super) entry: &'a CacheEntry,
    pub(super) root: tokio::sync::MutexGuard<'a, CachedRoot>,
    /// The root was loaded while the lock was held, so it is as new as a load can make it.
    pub(super) is_fresh: bool,
}

/// The locks of all the entries that a command updates.
///
/// Every command takes its locks in the order of the streams, and takes the lock of a batch, of which it holds one at a time, after
/// them. So no two commands wait for each other.
#[expect(missing_debug_implementations, reason = "never leaves an update")]
pub struct EntryLocks<'a>(SmallVec<[EntryLock<'a>; 2]>);

/// The roots that a command decides on: those in its entries, and those that the batch has that it joins.
#[expect(missing_debug_implementations, reason = "never leaves an update")]
pub struct HeldRoots<'h, 'a> {
    pub(super) locks: &'h mut EntryLocks<'a>,
    pub(super) contents: Option<&'h mut Contents>,
}

impl Cache {
    pub(crate) fn new(aggregates: usize) -> Self {
        Self {
            entries: NonZeroUsize::new(aggregates)
                .map(|aggregates| Mutex::new(LruCache::new(aggregates))),
        }
    }

    /// Another one of the same size, with nothing in it.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.lock().map_or(0, |entries| entries.cap().get()))
    }

    /// The entries of `streams`, empty if an aggregate was not used lately.
    pub(super) fn entries(&self, streams: impl IntoIterator<Item = StreamId>) -> Entries {
        let mut entries: SmallVec<[_; 2]> = streams
            .into_iter()
            .map(|stream| {
                let entry = self.entry(&stream);
                (stream, entry)
            })
            .collect();
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|(one, _), (other, _)| one == other);
        Entries(entries)
    }

    fn entry(&self, stream: &StreamId) -> CacheEntry {
        match self.lock() {
            Some(mut entries) => entries
                .get_or_insert_ref(stream, CacheEntry::default)
                .clone(),
            None => CacheEntry::default(),
        }
    }

    /// Empties the entry of an aggregate that is changed past the cache.
    pub(crate) fn forget(&self, stream: &StreamId) {
        let entry = self
            .lock()
            .and_then(|entries| entries.peek(stream).cloned());
        if let Some(entry) = entry
            && let Ok(mut root) = entry.0.root.try_lock()
        {
            *root = CachedRoot::Empty;
        }
    }

    /// The entries of a batch in which commands wait that could join it.
    pub(super) fn wanted<'s>(
        &self,
        streams: impl Iterator<Item = &'s StreamId>,
    ) -> SmallVec<[CacheEntry; 4]> {
        let Some(entries) = self.lock() else {
            return SmallVec::new();
        };
        let entries = streams.filter_map(|stream| entries.peek(stream));
        entries.filter(|entry| entry.is_wanted()).cloned().collect()
    }

    /// Puts roots that a batch has written into their entries. One whose entry a command holds is left to the batch, which that command
    /// is going to ask for it.
    pub(super) fn put_back(
        &self,
        batch: &Arc<CommandBatch>,
        roots: BTreeMap<StreamId, Box<dyn KeptRoot>>,
    ) {
        for (stream, root) in roots {
            let entry = self
                .lock()
                .and_then(|entries| entries.peek(&stream).cloned());
            let Some(entry) = entry else {
                continue;
            };
            match entry.0.root.try_lock() {
                // Another root is there if the aggregate was changed past the batch.
                Ok(mut cached) => {
                    if matches!(&*cached, CachedRoot::InBatch(other) if Arc::ptr_eq(other, batch)) {
                        *cached = CachedRoot::Written(root);
                    }
                }
                Err(_) => batch.keep_written(stream, root),
            }
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<StreamId, CacheEntry>>> {
        self.entries
            .as_ref()
            .map(|entries| entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CacheEntry {
    /// Waits for the lock, behind the commands that have asked before.
    async fn lock(&self) -> tokio::sync::MutexGuard<'_, CachedRoot> {
        let _waiting = Waiting::at(&self.0.waiters);
        self.0.root.lock().await
    }

    /// Waits until the commands that wait now have had the lock, without being one that is waited for.
    pub(super) async fn let_pass(&self) {
        drop(self.0.root.lock().await);
    }

    /// Returns `true` if commands wait for the lock.
    pub(super) fn is_wanted(&self) -> bool {
        self.0.waiters.load(Ordering::SeqCst) > 0
    }
}

/// Counts a command that waits, also if its future is dropped meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn at(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::SeqCst);
        Self(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Entries {
    pub(super) async fn lock(&self) -> EntryLocks<'_> {
        let mut locks = SmallVec::new();
        for (stream, entry) in &self.0 {
            let root = entry.lock().await;
            locks.push(EntryLock {
                stream,
                entry,
                root,
                is_fresh: false,
            });
        }
        EntryLocks(locks)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> EntryLocks<'a> {
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EntryLock<'a>> {
        self.0.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EntryLock<'a>> {
        self.0.iter()
    }

    fn of(&self, stream: &StreamId) -> &EntryLock<'a> {
        &self.0[self.place_of(stream)]
    }

    fn of_mut(&mut self, stream: &StreamId) -> &mut EntryLock<'a> {
        let place = self.place_of(stream);
        &mut self.0[place]
    }

    fn place_of(&self, stream: &StreamId) -> usize {
        self.find(stream)
            .expect("a command holds the locks of all its streams")
    }

    /// Looks by halves: a list may name thousands of aggregates.
    fn find(&self, stream: &StreamId) -> Option<usize> {
        self.0.binary_search_by(|lock| lock.stream.cmp(stream)).ok()
    }

    /// Returns `true` if the root was loaded while the locks were held.
    pub(super) fn has_fresh(&self, stream: &StreamId) -> bool {
        self.find(stream)
            .is_some_and(|place| self.0[place].is_fresh)
    }

    /// Returns `true` if the root of an aggregate has to be loaded: there is none of this type and epoch, and no batch has it.
    pub(crate) fn lacks<A: Aggregate>(&self, id: Id<A>, epoch: Epoch) -> bool {
        match &*self.of(&id.stream()).root {
            CachedRoot::Empty => true,
            CachedRoot::Written(root) => {
                root.kind() != TypeId::of::<A>() || root.epoch() != Some(epoch)
            }
            CachedRoot::InBatch(_) => false,
        }
    }

    /// Keeps a root that was loaded while the locks were held.
    pub(crate) fn put_loaded<A: Aggregate>(&mut self, root: Root<A>) {
        let lock = self.of_mut(&root.id().stream());
        *lock.root = CachedRoot::Written(Box::new(root));
        lock.is_fresh = true;
    }
}

impl EntryLock<'_> {
    pub(super) fn batch(&self) -> Option<Arc<CommandBatch>> {
        match &*self.root {
            CachedRoot::InBatch(batch) => Some(Arc::clone(batch)),
            CachedRoot::Empty | CachedRoot::Written(_) => None,
        }
    }

    /// Takes what is left of a batch that is settled.
    pub(super) fn take_settled(&mut self) {
        if let Some(batch) = self.batch() {
            let written = batch.take_written(self.stream);
            *self.root = written.map_or(CachedRoot::Empty, CachedRoot::Written);
        }
    }
}

impl HeldRoots<'_, '_> {
    /// Returns `true` if the root of an aggregate is there, and of this type.
    pub(crate) fn has<A: Aggregate>(&self, id: Id<A>) -> bool {
        let stream = id.stream();
        let kind = match &*self.locks.of(&stream).root {
            CachedRoot::Empty => None,
            CachedRoot::Written(root) => Some(root.kind()),
            CachedRoot::InBatch(_) => self
                .contents
                .as_ref()
                .and_then(|contents| contents.kind_of(&stream)),
        };
        kind == Some(TypeId::of::<A>())
    }

    /// Takes a root out, which [has](Self::has) to be there.
    pub(crate) fn take<A: Aggregate>(&mut self, id: Id<A>) -> Root<A> {
        let stream = id.stream();
        let lock = self.locks.of_mut(&stream);
        let root = match &mut *lock.root {
            CachedRoot::InBatch(_) => self
                .contents
                .as_mut()
                .and_then(|contents| contents.take(&stream)),
            cached => match std::mem::take(cached) {
                CachedRoot::Written(root) => Some(root),
                CachedRoot::Empty | CachedRoot::InBatch(_) => None,
            },
        };
        let root: Box<dyn Any> = root.expect("the command has looked for it");
        *root
            .downcast()
            .unwrap_or_else(|_| panic!("the command has looked at its type"))
    }

    /// Puts a root into its entry if all of it is written, and otherwise into the batch.
    pub(crate) fn put<A: Aggregate>(&mut self, root: Root<A>, batch: Option<&Arc<CommandBatch>>) {
        let stream = root.id().stream();
        let lock = self.locks.of_mut(&stream);
        let is_written = root.pending().len() == 0;
        match (is_written, &mut self.contents, batch) {
            (true, _, _) => *lock.root = CachedRoot::Written(Box::new(root)),
            (false, Some(contents), Some(batch)) => {
                contents.put(stream, Box::new(root));
                *lock.root = CachedRoot::InBatch(Arc::clone(batch));
            }
            (false, _, _) => *lock.root = CachedRoot::Empty,
        }
    }
}
