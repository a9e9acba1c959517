//! Recently updated aggregates, always checked by the append's expected version. Each has a slot, and whoever holds
//! the slot has its turn: within a process, updates of one aggregate do not run into each other.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;

use crate::aggregate::root::KeptRoot;
use crate::company::Company;
use crate::store::{Epoch, StreamId};
use crate::{Aggregate, Id, Root};

/// The slots of the aggregates used last.
pub(crate) struct Cache {
    /// `None`: nothing is cached.
    slots: Option<Mutex<LruCache<StreamId, Slot>>>,
}

/// Where one aggregate is kept. Evicting it while somebody holds it is harmless: it only costs conflicts.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<tokio::sync::Mutex<Kept>>);

/// Whoever has it is the only one that uses what is in the slot.
pub(crate) type Turn = OwnedMutexGuard<Kept>;

/// The turns of several aggregates, in the order of their streams.
///
/// Everyone takes turns in this order, and whoever holds only one waits for no other: so no two wait for each other.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "never leaves an update")]
pub struct Turns(BTreeMap<StreamId, Turn>);

/// What is in a slot.
#[derive(Default)]
pub(crate) struct Kept {
    root: Option<Box<dyn KeptRoot>>,
    /// Whose events the root has that are not written yet; `None` if it has none.
    company: Option<Company>,
}

impl Cache {
    pub(crate) fn new(aggregates: usize) -> Self {
        Self {
            slots: NonZeroUsize::new(aggregates)
                .map(|aggregates| Mutex::new(LruCache::new(aggregates))),
        }
    }

    /// Another one of the same size, with nothing in it.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.lock().map_or(0, |slots| slots.cap().get()))
    }

    /// The slot of an aggregate, empty if the aggregate was not used lately.
    pub(crate) fn slot(&self, stream: &StreamId) -> Slot {
        match self.lock() {
            Some(mut slots) => slots.get_or_insert_ref(stream, Slot::default).clone(),
            None => Slot::default(),
        }
    }

    /// Empties the slot of an aggregate that is changed past the cache.
    pub(crate) fn forget(&self, stream: &StreamId) {
        let slot = self.lock().and_then(|slots| slots.peek(stream).cloned());
        if let Some(slot) = slot
            && let Ok(mut kept) = slot.0.try_lock()
        {
            *kept = Kept::default();
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<StreamId, Slot>>> {
        self.slots
            .as_ref()
            .map(|slots| slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slot {
    /// Waits for its turn, behind those who have asked before. Whoever has it and drops it half-way leaves the slot empty.
    pub(crate) async fn turn(&self) -> Turn {
        Arc::clone(&self.0).lock_owned().await
    }

    /// For whoever has the turn: whether others wait for theirs, or did a moment ago.
    pub(crate) fn is_wanted(&self) -> bool {
        // The cache, this slot and the turn have one each; whoever waits has two.
        Arc::strong_count(&self.0) > 3
    }
}

impl Turns {
    pub(crate) fn add(&mut self, stream: StreamId, turn: Turn) {
        self.0.insert(stream, turn);
    }

    /// Takes out what is kept of an aggregate, if it is of this epoch and nobody else's events are in it.
    pub(crate) fn take<A: Aggregate>(&mut self, id: Id<A>, epoch: Epoch) -> Option<Root<A>> {
        let turn = self.0.get_mut(&id.stream())?;
        let (root, company) = turn.take(epoch)?;
        // Whoever takes several turns has written what others have left, so there is no company.
        company.is_none().then_some(root)
    }

    /// Keeps a root, unless it has events that are not written.
    pub(crate) fn put<A: Aggregate>(&mut self, root: Root<A>) {
        if let Some(turn) = self.0.get_mut(&root.id().stream())
            && root.pending().len() == 0
        {
            turn.put(Box::new(root));
        }
    }
}

impl Kept {
    /// The company whose events are not written yet. If none of its commands is waited for any more, it goes, and the root with it.
    pub(crate) fn company(&mut self) -> Option<&Company> {
        if self.company.as_ref().is_some_and(Company::is_deserted) {
            *self = Self::default();
        }
        self.company.as_ref()
    }

    /// Whether a command on an `A` can go on with what is in the slot: nobody else's events are lost by that.
    pub(crate) fn admits<A: Aggregate>(&mut self) -> bool {
        let Some(company) = self.company() else {
            return true;
        };
        !company.is_full()
            && self
                .root
                .as_ref()
                .is_some_and(|root| root.kind() == TypeId::of::<A>())
    }

    /// Takes out what is in the slot, if it is an `A` and of this epoch. What others have decided on a root of an earlier one is
    /// refused by the store, so they may be joined.
    pub(crate) fn take<A: Aggregate>(
        &mut self,
        epoch: Epoch,
    ) -> Option<(Root<A>, Option<Company>)> {
        let Self { root, company } = std::mem::take(self);
        let root = root.filter(|root| company.is_some() || root.epoch() == Some(epoch))?;
        let root: Box<dyn Any> = root;
        root.downcast().ok().map(|root| (*root, company))
    }

    /// Takes out the company and the root with its events.
    pub(crate) fn take_company(&mut self) -> Option<(Box<dyn KeptRoot>, Company)> {
        let Self { root, company } = std::mem::take(self);
        root.zip(company)
    }

    /// Keeps a root, all of it written.
    pub(crate) fn put(&mut self, root: Box<dyn KeptRoot>) {
        *self = Self {
            root: Some(root),
            company: None,
        };
    }

    /// Keeps a root with events that are not written yet.
    pub(crate) fn put_unwritten(&mut self, root: Box<dyn KeptRoot>, company: Company) {
        *self = Self {
            root: Some(root),
            company: Some(company),
        };
    }
}
