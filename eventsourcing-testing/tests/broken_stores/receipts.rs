//! Stores with wrong receipts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, EventStore, LogId, MemoryStore, Position, Receipt,
    ReceiptKind, StoreError,
};

use super::flawed_store::Flaw;

/// A store whose receipts are changed by a function, in all operations.
macro_rules! changes_receipts {
    ($($(#[$doc:meta])* $flaw:ident = |$receipt:ident| $change:block)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        impl $flaw {
            fn change($receipt: &mut Receipt) {
                $change
            }
        }

        #[async_trait]
        impl Flaw for $flaw {
            async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
                let mut appended = store.append(append).await?;
                Self::change(&mut appended.receipt);
                Ok(appended)
            }

            async fn receipt(&self, store: &MemoryStore, id: CommandId) -> Result<Option<Receipt>, StoreError> {
                let mut receipt = store.receipt(id).await?;
                receipt.iter_mut().for_each(Self::change);
                Ok(receipt)
            }

            async fn receipts(
                &self,
                store: &MemoryStore,
                after: Option<CommandId>,
                limit: usize,
            ) -> Result<Vec<Receipt>, StoreError> {
                let mut receipts = store.receipts(after, limit).await?;
                receipts.iter_mut().for_each(Self::change);
                Ok(receipts)
            }
        }
    )*};
}

changes_receipts! {
    NamesNoLog = |receipt| {
        receipt.log = LogId::UNKNOWN;
    }

    /// Returns a receipt of nothing as a rejection, as releases without receipts of nothing did.
    TakesNothingForARejection = |receipt| {
        if receipt.kind == ReceiptKind::NothingRecorded {
            receipt.kind = ReceiptKind::Rejected;
        }
    }

    /// Gives receipts without an event the position 0, as earlier releases did.
    AnswersAtZero = |receipt| {
        if receipt.kind != ReceiptKind::Recorded {
            receipt.position = Position::ZERO;
        }
    }
}

/// A store that keeps the kinds of receipts in memory only.
#[derive(Default)]
pub(crate) struct ForgetsKindsInACrash {
    has_crashed: AtomicBool,
}

#[async_trait]
impl Flaw for ForgetsKindsInACrash {
    async fn receipt(
        &self,
        store: &MemoryStore,
        id: CommandId,
    ) -> Result<Option<Receipt>, StoreError> {
        let receipt = store.receipt(id).await?;
        Ok(match self.has_crashed.load(Ordering::SeqCst) {
            true => receipt.map(|receipt| Receipt {
                kind: ReceiptKind::Recorded,
                ..receipt
            }),
            false => receipt,
        })
    }

    async fn crash(&self, _: &MemoryStore) {
        self.has_crashed.store(true, Ordering::SeqCst);
    }
}

/// A store whose newest position counts positions reserved in vain, as a sequence does.
#[derive(Default)]
pub(crate) struct NewestCountsRefusedAppends {
    refused: AtomicU64,
}

#[async_trait]
impl Flaw for NewestCountsRefusedAppends {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let result = store.append(append).await;
        self.refused
            .fetch_add(u64::from(result.is_err()), Ordering::SeqCst);
        result
    }

    async fn newest_position(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        Ok(Position::new(
            store.newest_position().await?.as_u64() + self.refused.load(Ordering::SeqCst),
        ))
    }
}

/// A store that returns the newest position of the previous request.
#[derive(Default)]
pub(crate) struct NewestIsRemembered {
    last: AtomicU64,
}

#[async_trait]
impl Flaw for NewestIsRemembered {
    async fn newest_position(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        let newest = store.newest_position().await?;
        Ok(Position::new(
            self.last.swap(newest.as_u64(), Ordering::SeqCst),
        ))
    }
}

/// A store that changes the rejections it returns.
macro_rules! changes_rejections {
    ($($(#[$doc:meta])* $flaw:ident = |$rejection:ident| $change:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn rejection(&self, store: &MemoryStore, id: CommandId) -> Result<Option<String>, StoreError> {
                let $rejection = store.rejection(id).await?;
                Ok($change)
            }
        }
    )*};
}

changes_rejections! {
    ForgetsRejections = |rejection| rejection.filter(|_| false);
    TrimsRejections = |rejection| rejection.map(|text| text.trim_matches('"').chars().take(4_000).collect());
    TakesEmptyRejectionsForNone = |rejection| rejection.filter(|text| !text.is_empty());
}

/// Drops the rejection and writes the rest of an append that has both.
#[derive(Default)]
pub(crate) struct WritesMoreThanTheRejection;

#[async_trait]
impl Flaw for WritesMoreThanTheRejection {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        if append.validate().is_err() {
            append.rejection = None;
        }
        store.append(append).await
    }
}
