//! Recently updated aggregates, always checked by the append's expected version. Each has a slot, and whoever holds
//! the slot has its turn: within a process, updates of one aggregate do not run into each other.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::MutexGuard as Turn;

use crate::store::StreamId;
use crate::{Aggregate, Root};

/// The slots of the aggregates used last.
pub(crate) struct Cache {
    /// `None`: nothing is cached.
    slots: Option<Mutex<LruCache<StreamId, Slot>>>,
}

/// Where one aggregate is kept. Evicting it while somebody holds it is harmless: it only costs conflicts.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<tokio::sync::Mutex<Kept>>);

/// What is in a slot.
#[derive(Default)]
pub(crate) struct Kept(Option<Box<dyn Any + Send>>);

impl Cache {
    pub(crate) fn new(aggregates: usize) -> Self {
        Self { slots: NonZeroUsize::new(aggregates).map(|aggregates| Mutex::new(LruCache::new(aggregates))) }
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
            kept.0 = None;
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<StreamId, Slot>>> {
        self.slots.as_ref().map(|slots| slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slot {
    /// Waits for its turn. Whoever has it and drops it half-way leaves the slot empty.
    pub(crate) async fn lock(&self) -> Turn<'_, Kept> {
        self.0.lock().await
    }
}

impl Kept {
    pub(crate) fn take<A: Aggregate>(&mut self) -> Option<Root<A>> {
        self.0.take().and_then(|kept| kept.downcast().ok()).map(|root| *root)
    }

    pub(crate) fn put<A: Aggregate>(&mut self, root: Root<A>) {
        self.0 = Some(Box::new(root));
    }
}
