//! Stores that count wrongly.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Digest, EventStore, Figures, FiguresQuery, Filter, MemoryStore, Position, Slice, StoreError,
};

use super::flawed_store::Flaw;

type Answer = Result<BTreeMap<Slice, Figures>, StoreError>;

macro_rules! counts {
    ($($(#[$doc:meta])* $flaw:ident = |$store:ident, $query:ident| $answer:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            /// There is much to count, and only what is found must count.
            const PATIENCE: Duration = Duration::from_secs(60);

            async fn figures(&self, $store: &MemoryStore, $query: FiguresQuery) -> Answer {
                $answer
            }
        }
    )*};
}

counts! {
    CountsTheEventBefore = |store, query| {
        let after = Position::new(query.after.as_u64().saturating_sub(1));
        store.figures(FiguresQuery { after, ..query }).await
    };
    LeavesOutTheLastEvent = |store, query| {
        let to = Position::new(query.to.as_u64().saturating_sub(1));
        store.figures(FiguresQuery { to, ..query }).await
    };
    IgnoresTheFilter = |store, query| store.figures(FiguresQuery { filter: Filter::all(), ..query }).await;
    CountsAllEventsOfAStream = |store, query| {
        let filter = Filter { first_of_stream: false, ..query.filter };
        store.figures(FiguresQuery { filter, ..query }).await
    };
    /// The last position of a slice counts as one of the next.
    CutsSlicesTooEarly = |store, query| {
        let mut cut = BTreeMap::<_, Figures>::new();
        for (slice, _) in store.figures(query.clone()).await? {
            let last = Position::new(slice.end().as_u64() - 1);
            for (after, to, slice) in [
                (slice.start().max(query.after), last.min(query.to), slice),
                (last.max(query.after), slice.end().min(query.to), Slice::new(slice.as_u64() + 1)),
            ] {
                let part = store.figures(FiguresQuery { after, to, ..query.clone() }).await?;
                part.into_values().for_each(|figures| cut.entry(slice).or_default().merge(figures));
            }
        }
        Ok(cut)
    };
    /// Says of every slice of the log that there is nothing in it, when there is nothing.
    NamesEmptySlices = |store, query| {
        let mut figures = store.figures(query.clone()).await?;
        figures.entry(Slice::of(query.after)).or_default();
        Ok(figures)
    };
    DigestsInItsOwnWay = |store, query| {
        let mut slices = store.figures(query).await?;
        for figures in slices.values_mut() {
            figures.digest = Digest::from_bits(figures.digest.to_bits().swap_bytes());
        }
        Ok(slices)
    };
}
