//! Stores that answer commands wrongly that share an append.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, CommandId, Commands, EventStore, MemoryStore, Receipt, SharedAnswer,
    SharedCommand, StoreError,
};

use super::flawed_store::{Flaw, dawdle};

async fn receipts_of(store: &MemoryStore, append: &Append) -> Result<Vec<Receipt>, StoreError> {
    let mut receipts = Vec::new();
    for command in append.commands.shared() {
        receipts.extend(store.receipt(command.id).await?);
    }
    Ok(receipts)
}

/// As a column with one position for each append.
#[derive(Default)]
pub(crate) struct GivesAllCommandsTheLastPosition;

#[async_trait]
impl Flaw for GivesAllCommandsTheLastPosition {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let mut appended = store.append(append).await?;
        for receipt in &mut appended.shared {
            receipt.position = appended.receipt.position;
        }
        Ok(appended)
    }
}

/// Answers all of them, and remembers one.
#[derive(Default)]
pub(crate) struct RemembersOneOfSeveral;

#[async_trait]
impl Flaw for RemembersOneOfSeveral {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.validate()?;
        let all = append.commands.shared().to_vec();
        if let Commands::Several(commands) = &mut append.commands {
            commands.truncate(1);
        }
        let mut appended = store.append(append).await?;
        let position = appended.receipt.position;
        for SharedCommand { id, answer } in all.iter().skip(1) {
            appended.shared.push(Receipt {
                kind: answer.kind(),
                position,
                command_id: Some(*id),
                ..appended.receipt
            });
        }
        Ok(appended)
    }
}

/// Leaves the commands out that were answered before, and writes the events all the same.
#[derive(Default)]
pub(crate) struct WritesWithoutTheRepeated;

#[async_trait]
impl Flaw for WritesWithoutTheRepeated {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let known: HashSet<_> = receipts_of(store, &append)
            .await?
            .into_iter()
            .filter_map(|receipt| receipt.command_id)
            .collect();
        if let Commands::Several(commands) = &mut append.commands {
            commands.retain(|command| !known.contains(&command.id));
        }
        store.append(append).await
    }
}

/// As a unique index, which names the first key that it has.
#[derive(Default)]
pub(crate) struct NamesOneOfTheRepeated;

#[async_trait]
impl Flaw for NamesOneOfTheRepeated {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        match store.append(append).await {
            Err(StoreError::Repeated { mut receipts }) => {
                receipts.truncate(1);
                Err(StoreError::Repeated { receipts })
            }
            answer => answer,
        }
    }
}

/// Takes several commands for carried out when it is asked to.
#[derive(Default)]
pub(crate) struct RemembersRefusedSharedCommands {
    refused: Mutex<HashMap<CommandId, Receipt>>,
}

#[async_trait]
impl Flaw for RemembersRefusedSharedCommands {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let receipts: Vec<_> = {
            let refused = self.refused.lock().expect("no panic meanwhile");
            append
                .commands
                .ids()
                .filter_map(|id| refused.get(&id).copied())
                .collect()
        };
        if !receipts.is_empty() {
            return Err(StoreError::Repeated { receipts });
        }
        let answer = store.append(append.clone()).await;
        if let Err(StoreError::Conflict { .. }) = answer {
            let receipt = Receipt::at(store.log_id(), store.head().await?);
            let ids = append.commands.ids();
            self.refused
                .lock()
                .expect("no panic meanwhile")
                .extend(ids.map(|id| (id, receipt)));
        }
        answer
    }
}

/// Looks for receipts, and writes without looking again.
#[derive(Default)]
pub(crate) struct LooksForReceiptsThenWrites;

#[async_trait]
impl Flaw for LooksForReceiptsThenWrites {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let receipts = receipts_of(store, &append).await?;
        if !receipts.is_empty() {
            return Err(StoreError::Repeated { receipts });
        }
        dawdle().await;
        WritesWithoutTheRepeated.append(store, append).await
    }
}

/// Counts the same command once, and lets commands end where they like.
#[derive(Default)]
pub(crate) struct MakesCommandsFit;

#[async_trait]
impl Flaw for MakesCommandsFit {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let events = append.event_count();
        if let Commands::Several(commands) = &mut append.commands {
            let mut ids = HashSet::new();
            let mut ends = HashSet::new();
            commands.retain(|command| ids.insert(command.id));
            for command in commands {
                if let SharedAnswer::Recorded { last_event } = command.answer
                    && (last_event >= events || !ends.insert(last_event))
                {
                    command.answer = SharedAnswer::NothingRecorded;
                }
            }
        }
        store.append(append).await
    }
}

/// Stores the position of the append for commands without events of their own, as one that knows no other.
#[derive(Default)]
pub(crate) struct AnswersSharedCommandsAtZero;

#[async_trait]
impl Flaw for AnswersSharedCommandsAtZero {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let has_events = append.event_count() > 0;
        let mut appended = store.append(append).await?;
        if !has_events {
            for receipt in &mut appended.shared {
                receipt.position = eventsourcing_core::store::Position::ZERO;
            }
        }
        Ok(appended)
    }
}
