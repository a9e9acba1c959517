//! Kept rejections: a command that was rejected stays rejected when it is sent again, even if the state has changed since.
//!
//! A kept rejection is one append without events: the id of the command, and a note of the rejection. So the store's promise
//! about commands (P6, P7) decides between a success and a rejection that race in two processes: the first one counts. Each
//! rejection has a follower of its own name, so that no other append waits for it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Application;
use super::attempts::Attempts;
use crate::store::{Append, Appended, CommandId, Receipt, ReceiptKind, StoreError};
use crate::{ApplicationError, CommandError};

impl Application {
    /// Carries out this handle's [command](Self::command) once, and keeps a rejection too: each repetition, in any process, gets
    /// the first answer, a receipt or a rejection.
    ///
    /// Without it a refusal leaves no trace, and a command that is repeated is decided anew: an overdraft that was refused
    /// goes through when there is money by then. What is refused is [`CommandError::Rejected`]; nothing else is kept. A command that
    /// is carried out costs nothing more; one that is refused, or that has nothing to record, costs an append. Refusals are kept for ever, as receipts are.
    ///
    /// If this future is dropped, or the process ends, the repeated command gets the answer that was stored, or is decided
    /// anew if none was. Without a command id nothing is kept.
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Application, MemoryStore, CommandError, Root, event, store::CommandId};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Aggregate, Serialize, Deserialize)] struct Jar { beans: u32 }
    /// # #[event] impl Jar {
    /// #     fn filled(beans: u32) -> Self { Self { beans } }
    /// #     fn added(&mut self, beans: u32) { self.beans += beans; }
    /// #     fn taken(&mut self, beans: u32) { self.beans -= beans; }
    /// # }
    /// #[derive(Debug, Serialize, Deserialize, thiserror::Error)]
    /// #[error("only {left} beans are left")]
    /// struct NotEnough { left: u32 }
    /// # impl Jar {
    /// #     fn take(&self, beans: u32) -> Result<JarEvent, NotEnough> {
    /// #         if beans > self.beans { Err(NotEnough { left: self.beans }) } else { Ok(JarEvent::Taken { beans }) }
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let app = Application::new("jars", MemoryStore::new());
    /// let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 3 });
    /// app.save(&mut jar).await?;
    /// let id = jar.id();
    ///
    /// let command = app.command(CommandId::new());
    /// let refused = command.once(command.update(id, |jar| jar.take(5))).await;
    /// assert!(matches!(refused, Err(CommandError::Rejected(NotEnough { left: 3 }))));
    ///
    /// app.update(id, |_| JarEvent::Added { beans: 9 }).await?;
    /// let again = command.once(command.update(id, |jar| jar.take(5))).await;
    /// assert!(matches!(again, Err(CommandError::Rejected(NotEnough { left: 3 }))));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`CommandError::Rejected`]: the refusal, now or the first time. [`CommandError::Application`]: what `command` failed with, or the store
    /// failed, or what is kept is no refusal of this type.
    pub async fn once<E>(
        &self,
        command: impl Future<Output = Result<Receipt, CommandError<E>>> + Send,
    ) -> Result<Receipt, CommandError<E>>
    where
        E: Serialize + DeserializeOwned + Send,
    {
        match command.await {
            Err(CommandError::Rejected(refusal)) => self.refuse(refusal).await,
            Err(CommandError::Application(ApplicationError::Rejected { command_id })) => {
                Err(CommandError::Rejected(self.refusal(command_id).await?))
            }
            outcome => outcome,
        }
    }

    /// Answers this handle's [command](Self::command) with `refusal`, for ever, unless it was answered before. For commands
    /// whose refusals are not all to be kept; otherwise [`once`](Self::once) is enough.
    ///
    /// Returns the receipt if the command was carried out before. If this future is dropped the refusal may still be kept.
    ///
    /// # Errors
    /// [`CommandError::Rejected`]: the first refusal, which is this one if there was none before. [`CommandError::Application`]: the store
    /// failed, or what is kept is no refusal of this type.
    pub async fn refuse<E>(&self, refusal: E) -> Result<Receipt, CommandError<E>>
    where
        E: Serialize + DeserializeOwned + Send,
    {
        let Some(command_id) = self.context.command_id else {
            return Err(CommandError::Rejected(refusal));
        };
        let note = self.settings.encoding.encode_note(&refusal);
        let note = note.map_err(|error| StoreError::Invalid {
            reason: format!("the refusal cannot be kept: {error}"),
        })?;
        let append = Append::new(self.now()).with_rejection(command_id, note);
        let Appended {
            receipt, repeated, ..
        } = self.append(append, &mut Attempts::default()).await?;
        match (receipt.kind, repeated) {
            (ReceiptKind::Recorded | ReceiptKind::NothingRecorded, _) => Ok(receipt),
            (ReceiptKind::Rejected, true) => {
                Err(CommandError::Rejected(self.refusal(command_id).await?))
            }
            (ReceiptKind::Rejected, false) => Err(CommandError::Rejected(refusal)),
        }
    }

    /// Returns the first answer to this handle's [command](Self::command), if there is one: its receipt, or the
    /// [kept](Self::once) rejection.
    ///
    /// # Errors
    /// The store failed, or what is kept is no refusal of this type.
    pub async fn first_answer<E: DeserializeOwned>(
        &self,
    ) -> Result<Option<Result<Receipt, E>>, ApplicationError> {
        match self.first_receipt().await {
            Ok(receipt) => Ok(receipt.map(Ok)),
            Err(ApplicationError::Rejected { command_id }) => {
                Ok(Some(Err(self.refusal(command_id).await?)))
            }
            Err(error) => Err(error),
        }
    }

    /// The refusal that was kept for a command.
    async fn refusal<E: DeserializeOwned>(&self, command_id: CommandId) -> Result<E, StoreError> {
        let note = self.store.rejection(command_id).await?;
        let what = || format!("the refusal of command {command_id}");
        let note = note.ok_or_else(|| StoreError::corrupt(what(), "there is no note of it"))?;
        serde_json::from_str(&note).map_err(|error| StoreError::corrupt(what(), error))
    }
}
