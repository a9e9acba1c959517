//! [`RunningSystem::verify`]: checks that every follower has processed each event once.
//!
//! Followers note the checksums of the events that they process. These are compared with the
//! checksums of the log, slice by slice, and where they differ the events are searched for. Events
//! up to the position of a follower never change, so writers and followers go on meanwhile.

mod check;
mod contents;
mod follower_notes;
mod locate;
mod tables;

use std::sync::Arc;

use super::follower::FollowerWorker;
use super::notes::RETIRED;
use super::report::{FollowerVerification, Verification, VerifyProgress};
use super::{RunningSystem, System, SystemError};
use crate::store::{FollowerNotes, FollowerStore, LogId, Name, StoreError};
use check::{Check, Part};

pub use follower_notes::accounted;
pub(super) use follower_notes::all_notes;

/// Compares the notes of one worker with its log.
pub(super) async fn compare<S>(
    worker: &FollowerWorker<S>,
    notes: &FollowerNotes,
) -> Result<FollowerVerification, StoreError> {
    let (_, follower, _) = worker.home();
    let position = notes.position;
    let noted = follower_notes::accounted(notes)?;

    let part = Part {
        follower,
        partition: worker.partition,
        position,
        noted,
    };
    let takes = worker.takes().collect();
    Check::new(
        worker.name.clone(),
        Arc::clone(&worker.upstream),
        takes,
        vec![part],
    )
    .run(&mut |_| {})
    .await
}

/// The place where a follower keeps its notes.
struct Home<'a> {
    store: &'a dyn FollowerStore,
    follower: Name,
    upstream: LogId,
    /// The version of the read model that writes them, if it is not the version of this program.
    other_version: Option<u32>,
}

impl<S: System> RunningSystem<S> {
    /// Compares the events that each follower has processed, as noted with its steps, with the log
    /// up to the position of the follower. Nothing waits for this check, and events that are
    /// written meanwhile raise no false alarm.
    ///
    /// The check covers the events that were passed to policies and projections and committed with
    /// their work. To compare the rows of a read model with those that its code makes of the
    /// events, call [`verify_contents`](Self::verify_contents).
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer, or its data cannot be read.
    pub async fn verify(&self) -> Result<Verification, SystemError> {
        self.verify_with(|_| {}).await
    }

    /// Does the same as [`verify`](Self::verify), and reports to `progress` from time to time.
    ///
    /// # Errors
    /// The same as those of [`verify`](Self::verify).
    pub async fn verify_with(
        &self,
        mut progress: impl FnMut(&VerifyProgress) + Send,
    ) -> Result<Verification, SystemError> {
        let mut followers = Vec::new();
        let is_same = |a: &Arc<FollowerWorker<S>>, b: &Arc<FollowerWorker<S>>| {
            a.name == b.name && a.upstream.log_id() == b.upstream.log_id()
        };
        for partitions in self.engine.workers.chunk_by(is_same) {
            followers.push(self.verify_follower(partitions, &mut progress).await?);
        }
        Ok(Verification { followers })
    }

    async fn verify_follower(
        &self,
        partitions: &[Arc<FollowerWorker<S>>],
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<FollowerVerification, SystemError> {
        let first = &partitions[0];
        let mut parts = Vec::new();
        let mut other_version = None;

        for worker in partitions {
            let (part, version) = self.part(worker).await?;
            parts.push(part);
            other_version = version;
        }
        let check = Check::new(
            first.name.clone(),
            Arc::clone(&first.upstream),
            first.takes().collect(),
            parts,
        );
        let verification = check.run(progress).await?;
        Ok(match other_version {
            Some(version) => verification.of_other_version(version),
            None => verification,
        })
    }

    /// Returns the notes of a follower, as of one moment.
    async fn part(&self, worker: &FollowerWorker<S>) -> Result<(Part, Option<u32>), SystemError> {
        loop {
            let Home {
                store,
                follower,
                upstream,
                other_version,
            } = self.home(worker).await?;
            let notes = follower_notes::all_notes(store, follower.clone(), upstream).await?;
            // A retired position means that another generation has become live since the name was
            // looked up.
            if notes.position != RETIRED {
                let position = notes.position;
                let noted = follower_notes::accounted(&notes)?;

                return Ok((
                    Part {
                        follower,
                        partition: worker.partition,
                        position,
                        noted,
                    },
                    other_version,
                ));
            }
        }
    }

    /// Returns the place of the notes of a follower, which changes when another generation becomes
    /// live.
    async fn home<'a>(&self, worker: &'a FollowerWorker<S>) -> Result<Home<'a>, SystemError> {
        let (store, mut follower, upstream) = worker.home();
        let mut other_version = None;
        if let Some(read_model) = self
            .read_models
            .iter()
            .find(|read_model| *read_model.generations.name() == worker.name)
        {
            let generations = &read_model.generations;
            let live = generations
                .read()
                .await?
                .live
                .expect("an open read model has a live generation");
            follower = generations.follower(live.number);
            other_version = Some(live.version).filter(|version| *version != generations.version());
        }
        Ok(Home {
            store: &**store,
            follower,
            upstream,
            other_version,
        })
    }
}
