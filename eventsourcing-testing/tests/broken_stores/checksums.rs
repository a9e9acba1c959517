//! Stores that count wrongly.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::store::{
    AuditStore, EventHash, Filter, LogChecksum, LogChecksumsQuery, LogSlice, MemoryStore, Position,
    StoreError,
};

use super::flawed_store::Flaw;

type Answer = Result<BTreeMap<LogSlice, LogChecksum>, StoreError>;

macro_rules! counts {
    ($($(#[$doc:meta])* $flaw:ident = |$store:ident, $query:ident| $answer:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
        /// Counting many events takes time, and a timeout must not pass for a noticed flaw.
        const TIMEOUT: Duration = Duration::from_secs(60);

            async fn checksums(&self, $store: &MemoryStore, $query: LogChecksumsQuery) -> Answer {
                $answer
            }
        }
    )*};
}

counts! {
    CountsTheEventBefore = |store, query| {
        let after = Position::new(query.after.as_u64().saturating_sub(1));
        store.checksums(LogChecksumsQuery { after, ..query }).await
    };
    LeavesOutTheLastEvent = |store, query| {
        let to = Position::new(query.to.as_u64().saturating_sub(1));
        store.checksums(LogChecksumsQuery { to, ..query }).await
    };
    IgnoresTheFilter = |store, query| store.checksums(LogChecksumsQuery { filter: Filter::all(), ..query }).await;
    CountsAllEventsOfAStream = |store, query| {
        let filter = Filter { first_of_stream: false, ..query.filter };
        store.checksums(LogChecksumsQuery { filter, ..query }).await
    };
    /// The last position of a slice counts as one of the next.
    CutsSlicesTooEarly = |store, query| {
        let mut cut = BTreeMap::<_, LogChecksum>::new();
        for (slice, _) in store.checksums(query.clone()).await? {
            let last = Position::new(slice.end().as_u64() - 1);
            for (after, to, slice) in [
                (slice.start().max(query.after), last.min(query.to), slice),
                (last.max(query.after), slice.end().min(query.to), LogSlice::new(slice.as_u64() + 1)),
            ] {
                let part = store.checksums(LogChecksumsQuery { after, to, ..query.clone() }).await?;
                part.into_values().for_each(|checksums| cut.entry(slice).or_default().merge(checksums));
            }
        }
        Ok(cut)
    };
    /// Says of every slice of the log that there is nothing in it, when there is nothing.
    NamesEmptySlices = |store, query| {
        let mut checksums = store.checksums(query.clone()).await?;
        checksums.entry(LogSlice::of(query.after)).or_default();
        Ok(checksums)
    };
    DigestsInItsOwnWay = |store, query| {
        let mut slices = store.checksums(query).await?;
        for checksums in slices.values_mut() {
            checksums.digest = EventHash::from_bits(checksums.digest.to_bits().swap_bytes());
        }
        Ok(slices)
    };
}
