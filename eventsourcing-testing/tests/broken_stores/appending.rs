//! Stores that append wrongly.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, Commands, EventStore, Expected, Load, Loaded, LogPage,
    LogQuery, MemoryStore, Name, PAYLOAD_BYTES_MAX, Position, Receipt, ReceiptKind, StoreError,
    StoredEvent, StreamQuery, Version,
};
use jiff::Timestamp;

use super::flawed_store::{Flaw, dawdle, invalid, version_of};

/// A store whose appends are changed by a function before they are carried out.
macro_rules! changes_appends {
    ($($(#[$doc:meta])* $flaw:ident = |$append:ident| $change:block)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn append(&self, store: &MemoryStore, mut append: Append) -> Result<Appended, StoreError> {
                let $append = &mut append;
                $change;
                store.append(append).await
            }
        }
    )*};
}

changes_appends! {
    ReversesEvents = |append| {
        append.streams.iter_mut().for_each(|part| part.events.reverse());
    }

    ReversesStreams = |append| {
        append.streams.reverse();
    }

    IgnoresExpectations = |append| {
        append.streams.iter_mut().for_each(|part| part.expected = Expected::Any);
    }

    ChecksTheFirstStreamOnly = |append| {
        append.streams.iter_mut().skip(1).for_each(|part| part.expected = Expected::Any);
    }

    DropsGuards = |append| {
        append.streams.retain(|part| !part.events.is_empty());
    }

    /// Replaces invalid UTF-8, as a text column would.
    RepairsUtf8 = |append| {
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            event.payload = String::from_utf8_lossy(&event.payload).into_owned().into_bytes();
        }
    }

    KeepsWholeSeconds = |append| {
        append.recorded_at = Timestamp::from_second(append.recorded_at.as_second()).expect("it is a time");
    }

    CutsLargePayloads = |append| {
        append.streams.iter_mut().flat_map(|part| &mut part.events).for_each(|event| {
            event.payload.truncate(PAYLOAD_BYTES_MAX);
        });
    }

    RefusesLargePayloads = |append| {
        if append.streams.iter().flat_map(|part| &part.events).any(|event| event.payload.len() > 1024 * 1024) {
            return Err(invalid("too large"));
        }
    }

    /// Stores a rejection as a command that records nothing, as a table of receipts without a column for the kind would.
    TakesRejectionsForNothing = |append| {
        if let Some(id) = append.commands.only() {
            *append = append.clone().with_command_id(id);
        }
    }

    RefusesTrackingAlone = |append| {
        if append.event_count() == 0 && append.tracking.is_some() {
            return Err(invalid("no events"));
        }
    }

    RefusesSnapshotAlone = |append| {
        if append.event_count() == 0 && !append.snapshots.is_empty() {
            return Err(invalid("no events"));
        }
    }
}

/// A store whose receipts of appends have no position.
#[derive(Default)]
pub(crate) struct LosesTheReceipt;

#[async_trait]
impl Flaw for LosesTheReceipt {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let mut appended = store.append(append).await?;
        appended.receipt.position = Position::ZERO;
        Ok(appended)
    }
}

#[derive(Default)]
pub(crate) struct WritesStreamByStream;

#[async_trait]
impl Flaw for WritesStreamByStream {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let streams = std::mem::take(&mut append.streams);
        for part in streams {
            store
                .append(Append {
                    streams: vec![part],
                    ..Append::new(append.recorded_at)
                })
                .await?;
        }
        store.append(append).await
    }
}

/// A store that appends stream by stream, so that a dropped future leaves a part.
#[derive(Default)]
pub(crate) struct WritesInSteps;

#[async_trait]
impl Flaw for WritesInSteps {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        while append.streams.len() > 1 {
            let part = append.streams.remove(0);
            store
                .append(Append {
                    streams: vec![part],
                    ..Append::new(append.recorded_at)
                })
                .await?;
            tokio::task::yield_now().await;
        }
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct WritesAndConflicts;

#[async_trait]
impl Flaw for WritesAndConflicts {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let result = store.append(append.clone()).await;
        if let Err(StoreError::Conflict { .. }) = result {
            append
                .streams
                .iter_mut()
                .for_each(|part| part.expected = Expected::Any);
            store.append(append).await?;
        }
        result
    }
}

#[derive(Default)]
pub(crate) struct HidesTheActualVersion;

#[async_trait]
impl Flaw for HidesTheActualVersion {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        store.append(append).await.map_err(|error| match error {
            StoreError::Conflict {
                stream, expected, ..
            } => StoreError::Conflict {
                stream,
                expected,
                actual: Version::ZERO,
            },
            other => other,
        })
    }
}

#[derive(Default)]
pub(crate) struct ChecksThenWrites;

#[async_trait]
impl Flaw for ChecksThenWrites {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        check_expectations(store, &append).await?;
        dawdle().await;
        append
            .streams
            .iter_mut()
            .for_each(|part| part.expected = Expected::Any);
        store.append(append).await
    }
}

async fn check_expectations(store: &MemoryStore, append: &Append) -> Result<(), StoreError> {
    for part in &append.streams {
        let actual = version_of(store, &part.stream).await;
        if !part.expected.allows(actual) {
            let stream = part.stream.clone();
            let expected = part.expected;

            return Err(StoreError::Conflict {
                stream,
                expected,
                actual,
            });
        }
    }
    Ok(())
}

/// A store that replaces `Expected::Any` by the version it has read, so that concurrent appends conflict.
#[derive(Default)]
pub(crate) struct ConflictsAtAnyVersion;

#[async_trait]
impl Flaw for ConflictsAtAnyVersion {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        for part in append
            .streams
            .iter_mut()
            .filter(|part| part.expected == Expected::Any)
        {
            part.expected = Expected::Exact(version_of(store, &part.stream).await);
        }
        dawdle().await;
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct ForgetsCommands;

#[async_trait]
impl Flaw for ForgetsCommands {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        append_unnamed(store, append).await
    }
}

#[derive(Default)]
pub(crate) struct LosesReceipts;

#[async_trait]
impl Flaw for LosesReceipts {
    async fn receipt(&self, _: &MemoryStore, _: CommandId) -> Result<Option<Receipt>, StoreError> {
        Ok(None)
    }
}

fn nothing_of(store: &MemoryStore, command_id: Option<CommandId>) -> Receipt {
    let log = store.log_id();
    let kind = ReceiptKind::NothingRecorded;
    let position = Position::ZERO;

    Receipt {
        log,
        kind,
        position,
        command_id,
    }
}

/// A store that finds no receipt of a command without events, as a join with the events would.
#[derive(Default)]
pub(crate) struct LosesReceiptsWithoutEvents;

#[async_trait]
impl Flaw for LosesReceiptsWithoutEvents {
    async fn receipt(
        &self,
        store: &MemoryStore,
        command_id: CommandId,
    ) -> Result<Option<Receipt>, StoreError> {
        Ok(store
            .receipt(command_id)
            .await?
            .filter(|receipt| receipt.kind == ReceiptKind::Recorded))
    }
}

#[derive(Default)]
pub(crate) struct InventsReceipts;

#[async_trait]
impl Flaw for InventsReceipts {
    async fn receipt(
        &self,
        store: &MemoryStore,
        command_id: CommandId,
    ) -> Result<Option<Receipt>, StoreError> {
        Ok(Some(Receipt {
            command_id: Some(command_id),
            ..Receipt::at(store.log_id(), store.head().await?)
        }))
    }
}

macro_rules! lists_receipts {
    ($($flaw:ident = |$store:ident, $after:ident, $limit:ident| $answer:expr;)*) => {$(
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn receipts(
                &self,
                $store: &MemoryStore,
                $after: Option<CommandId>,
                $limit: usize,
            ) -> Result<Vec<Receipt>, StoreError> {
                $answer
            }
        }
    )*};
}

lists_receipts! {
    ListsReceiptsAgain = |store, _after, limit| store.receipts(None, limit).await;
    ListsTooManyReceipts = |store, after, _limit| store.receipts(after, usize::MAX).await;
    LeavesOutAReceipt = |store, after, limit| Ok(store.receipts(after, limit + 1).await?.into_iter().skip(1).collect());
    ListsReceiptsBackwards = |store, after, limit| Ok(store.receipts(after, limit).await?.into_iter().rev().collect());
}

/// A store that carries a command out without storing its id.
pub(crate) async fn append_unnamed(
    store: &MemoryStore,
    append: Append,
) -> Result<Appended, StoreError> {
    let command_id = append.commands.only();
    let appended = store
        .append(Append {
            commands: Commands::None,
            ..append
        })
        .await?;
    Ok(Appended {
        receipt: Receipt {
            command_id,
            ..appended.receipt
        },
        ..appended
    })
}

#[derive(Default)]
pub(crate) struct ChecksExpectationsFirst;

#[async_trait]
impl Flaw for ChecksExpectationsFirst {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        check_expectations(store, &append).await?;
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct RemembersRefusedCommands {
    refused: Mutex<HashSet<CommandId>>,
}

#[async_trait]
impl Flaw for RemembersRefusedCommands {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let Some(id) = append.commands.only() else {
            return store.append(append).await;
        };
        let valid = append.validate().is_ok();
        if valid
            && self
                .refused
                .lock()
                .expect("no panic meanwhile")
                .contains(&id)
        {
            let receipt = nothing_of(store, Some(id));
            return Ok(Appended::repeated(receipt));
        }
        let result = store.append(append).await;
        if result.is_err() {
            self.refused.lock().expect("no panic meanwhile").insert(id);
        }
        result
    }
}

#[derive(Default)]
pub(crate) struct RemembersCommandsTooLate {
    receipts: Mutex<HashMap<CommandId, Receipt>>,
}

#[async_trait]
impl Flaw for RemembersCommandsTooLate {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let Some(id) = append.commands.only() else {
            return store.append(append).await;
        };
        let known = self
            .receipts
            .lock()
            .expect("no panic meanwhile")
            .get(&id)
            .copied();
        if let Some(receipt) = known {
            return Ok(Appended::repeated(receipt));
        }
        dawdle().await;
        let appended = append_unnamed(store, append).await?;
        self.receipts
            .lock()
            .expect("no panic meanwhile")
            .insert(id, appended.receipt);
        Ok(appended)
    }
}

#[derive(Default)]
pub(crate) struct AcceptsNothing;

#[async_trait]
impl Flaw for AcceptsNothing {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        if append.event_count() == 0 && append.tracking.is_none() && append.snapshots.is_empty() {
            let receipt = nothing_of(store, append.commands.only());
            return Ok(Appended::new(receipt));
        }
        store.append(append).await
    }
}

/// A store that keeps and compares names in a simplified form.
macro_rules! simplifies_names {
    ($($flaw:ident = |$name:ident| $simple:expr;)*) => {$(
        #[derive(Default)]
        pub(crate) struct $flaw;

        impl $flaw {
            fn simplify(name: &mut Name) {
                let $name = name.as_str();
                *name = Name::from($simple);
            }
        }

        #[async_trait]
        impl Flaw for $flaw {
            async fn append(&self, store: &MemoryStore, mut append: Append) -> Result<Appended, StoreError> {
                for part in &mut append.streams {
                    Self::simplify(&mut part.stream.category);
                    part.events.iter_mut().for_each(|event| Self::simplify(&mut event.name));
                }
                store.append(append).await
            }

            async fn read_stream(&self, store: &MemoryStore, mut query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
                Self::simplify(&mut query.stream.category);
                store.read_stream(query).await
            }

            async fn load(&self, store: &MemoryStore, mut load: Load) -> Result<Loaded, StoreError> {
                Self::simplify(&mut load.stream.category);
                store.load(load).await
            }

            async fn read_log(&self, store: &MemoryStore, mut query: LogQuery) -> Result<LogPage, StoreError> {
                query.filter.categories.iter_mut().chain(&mut query.filter.names).for_each(Self::simplify);
                store.read_log(query).await
            }
        }
    )*};
}

simplifies_names! {
    TrimsNames = |name| name.trim();
    FoldsCase = |name| name.to_lowercase();
}
