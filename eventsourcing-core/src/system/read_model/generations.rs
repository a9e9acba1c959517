//! [`Generations`]: the generations of a read model in a SQL database. One is live, a second one
//! may be being built beside it, and a third one may exist only to be compared with the live one.
//!
//! A note of the read model lists them. Each change of that note is one transaction with the tables
//! and views that it concerns, so that readers see one whole generation after a crash at any
//! moment.

use std::sync::Arc;
use std::time::Duration;

use super::generation_index::{Generation, GenerationIndex};
use crate::Table;
use crate::sql::{Database, SqlError, Transaction};
use crate::store::{
    FollowerNotes, FollowerStore, HolderId, KnownPlace, Lease, LeaseRequest, LeaseToken, LogId,
    Name, NotesQuery, Position, Revision, StoreError, Tracking,
};
use crate::system::notes::{self, RETIRED};

/// The lease of a process that compares generations. It is renewed with each page, and its
/// generation is removed by others once the lease has expired.
const CHECK_LEASE: Duration = Duration::from_secs(120);

/// The generations of one read model, as one program knows it.
pub(crate) struct Generations {
    name: Name,
    version: u32,
    tables: &'static [Table],
    home: Arc<dyn FollowerStore>,
    database: Arc<dyn Database>,
    /// The logs that the read model follows.
    upstreams: Vec<LogId>,
}

/// A prepared switch of readers from the live generation to the one that was built.
pub(crate) struct Switch {
    versioned: VersionedIndex,
    /// The last steps of the live generation.
    last_steps: Vec<Tracking>,
    /// The positions of the live generation in each of the logs. The new one has to reach them.
    pub(crate) places: Vec<KnownPlace>,
}

/// The index, with the position and revision that a step to change it must name.
struct VersionedIndex {
    index: GenerationIndex,
    position: Position,
    revision: Revision,
}

impl Generations {
    pub(crate) fn new(
        name: Name,
        version: u32,
        tables: &'static [Table],
        home: Arc<dyn FollowerStore>,
        database: Arc<dyn Database>,
        upstreams: Vec<LogId>,
    ) -> Self {
        Self {
            name,
            version,
            tables,
            home,
            database,
            upstreams,
        }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the version that this program knows.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn tables(&self) -> &'static [Table] {
        self.tables
    }

    pub(crate) fn home(&self) -> &Arc<dyn FollowerStore> {
        &self.home
    }

    pub(crate) fn database(&self) -> &dyn Database {
        &*self.database
    }

    /// Returns the name under which a generation keeps its position.
    pub(crate) fn follower(&self, number: u64) -> Name {
        notes::generation(&self.name, number)
    }

    pub(crate) async fn read(&self) -> Result<GenerationIndex, StoreError> {
        Ok(self.versioned().await?.index)
    }

    async fn versioned(&self) -> Result<VersionedIndex, StoreError> {
        let query = NotesQuery::new(self.name.clone(), self.home.log_id(), notes::GENERATIONS);
        let FollowerNotes {
            position,
            revision,
            notes,
            ..
        } = self.home.notes(query).await?;
        let index = notes
            .get(notes::GENERATIONS)
            .map_or(Ok(GenerationIndex::default()), |note| {
                GenerationIndex::read(note)
            })?;
        Ok(VersionedIndex {
            index,
            position,
            revision,
        })
    }

    /// Returns the existing generations. Creates the first one, live at once, if there is none.
    pub(crate) async fn open(&self) -> Result<GenerationIndex, SqlError> {
        self.until_undisturbed(|| async {
            let versioned = self.versioned().await?;
            if versioned.index.live.is_some() {
                return Ok(versioned.index);
            }
            let first = self.generation(1);
            let index = GenerationIndex {
                live: Some(first.clone()),
                ..GenerationIndex::default()
            };
            let mut transaction = self.database.begin().await?;
            transaction.step(&self.change(&versioned, &index)).await?;
            run(
                &mut *transaction,
                self.creation(&first).chain(first.publishing()),
            )
            .await?;
            transaction.commit().await?;
            Ok(index)
        })
        .await
    }

    /// Returns the generation of this version that is being built. Begins one if there is none, and
    /// drops one of another version.
    pub(crate) async fn begin_build(&self) -> Result<Generation, SqlError> {
        self.until_undisturbed(|| async {
            let versioned = self.versioned().await?;
            let building = versioned.index.building.clone();
            if let Some(building) = building
                .clone()
                .filter(|building| building.version == self.version)
            {
                return Ok(building);
            }
            let next = self.generation(versioned.index.newest() + 1);
            let retirement = self.last_steps(building.as_ref()).await?;
            let mut transaction = self.database.begin().await?;
            let index = GenerationIndex {
                building: Some(next.clone()),
                ..versioned.index.clone()
            };
            transaction.step(&self.change(&versioned, &index)).await?;
            make(&mut *transaction, &retirement).await?;
            run(
                &mut *transaction,
                building
                    .iter()
                    .flat_map(Generation::removal)
                    .chain(self.creation(&next)),
            )
            .await?;
            transaction.commit().await?;
            Ok(next)
        })
        .await
    }

    /// Prepares to make `built` live. Returns `None` if it is not being built any more.
    ///
    /// The positions and revisions of the live generation are read here and become the last steps
    /// of that generation. If it makes another step before the switch, its last step is refused,
    /// and the whole switch with it.
    pub(crate) async fn begin_switch(
        &self,
        built: &Generation,
    ) -> Result<Option<Switch>, StoreError> {
        let versioned = self.versioned().await?;
        if versioned.index.building.as_ref() != Some(built) {
            return Ok(None);
        }
        let mut last_steps = Vec::new();
        let mut places = Vec::new();

        if let Some(live) = &versioned.index.live {
            for (step, place) in self.places_and_steps(live).await? {
                last_steps.push(Tracking {
                    to: RETIRED,
                    ..step
                });
                places.push(place);
            }
        }
        Ok(Some(Switch {
            versioned,
            last_steps,
            places,
        }))
    }

    /// Makes the built generation live, in one transaction: the last steps of the old generation,
    /// the note, the views, and the removal of the old tables. Returns `false`, with nothing
    /// changed, if the old generation has moved since the preparation or another process has
    /// changed the note.
    pub(crate) async fn switch(
        &self,
        Switch {
            versioned,
            last_steps,
            ..
        }: Switch,
    ) -> Result<bool, SqlError> {
        let GenerationIndex { live, building, .. } = &versioned.index;
        let index = GenerationIndex {
            live: building.clone(),
            building: None,
            ..versioned.index.clone()
        };
        let mut transaction = self.database.begin().await?;
        let switched = async {
            make(&mut *transaction, &last_steps).await?;
            transaction.step(&self.change(&versioned, &index)).await?;
            let views = live
                .iter()
                .flat_map(Generation::unpublishing)
                .chain(building.iter().flat_map(Generation::publishing));
            run(
                &mut *transaction,
                views.chain(live.iter().flat_map(Generation::removal)),
            )
            .await?;
            Ok(transaction.commit().await?)
        };
        match switched.await {
            Ok(()) => Ok(true),
            Err(SqlError::Store(StoreError::TrackingConflict { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a generation that readers never see, for `holder` to fill and to
    /// [remove](Self::end_check). Removes one that a dead process has left behind. Returns `None`
    /// if another process is comparing.
    pub(crate) async fn begin_check(
        &self,
        holder: HolderId,
    ) -> Result<Option<Generation>, SqlError> {
        self.until_undisturbed(|| async {
            let versioned = self.versioned().await?;
            let left_behind = versioned.index.verifying.clone();
            let next = self.generation(versioned.index.newest() + 1);
            // The lease on the generation that was left behind proves that its process is dead, or
            // has paused for longer than the lease; in that case it notices with its next claim.
            // The lease on the new one keeps others away until it is in the index.
            for generation in left_behind.iter().chain([&next]) {
                if self.claim(generation, holder).await?.is_none() {
                    return Ok(None);
                }
            }
            let mut transaction = self.database.begin().await?;
            let index = GenerationIndex {
                verifying: Some(next.clone()),
                ..versioned.index.clone()
            };
            transaction.step(&self.change(&versioned, &index)).await?;
            run(
                &mut *transaction,
                left_behind
                    .iter()
                    .flat_map(Generation::removal)
                    .chain(self.creation(&next)),
            )
            .await?;
            transaction.commit().await?;
            Ok(Some(next))
        })
        .await
    }

    /// Takes or renews the lease that keeps other processes from removing the generation of
    /// `holder`. Returns `None` if another process has it.
    pub(crate) async fn claim(
        &self,
        verifying: &Generation,
        holder: HolderId,
    ) -> Result<Option<LeaseToken>, StoreError> {
        let follower = self.follower(verifying.number);
        let upstream = self.home.log_id();

        let lease = self
            .home
            .lease(LeaseRequest {
                follower,
                upstream,
                holder,
                duration: CHECK_LEASE,
            })
            .await?;
        Ok(match lease {
            Lease::Held { token, .. } => Some(token),
            Lease::Taken { .. } => None,
        })
    }

    /// Removes a generation that was only compared.
    pub(crate) async fn end_check(
        &self,
        checked: &Generation,
        holder: HolderId,
    ) -> Result<(), SqlError> {
        self.until_undisturbed(|| async {
            let versioned = self.versioned().await?;
            if versioned.index.verifying.as_ref() != Some(checked) {
                return Ok(());
            }
            let mut transaction = self.database.begin().await?;
            let index = GenerationIndex {
                verifying: None,
                ..versioned.index.clone()
            };
            transaction.step(&self.change(&versioned, &index)).await?;
            run(&mut *transaction, checked.removal()).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        if let Some(token) = self.claim(checked, holder).await? {
            self.home
                .release(&self.follower(checked.number), self.home.log_id(), token)
                .await?;
        }
        Ok(())
    }

    /// Returns the steps that retire a generation from its position in each of the logs. A step
    /// that another process has prepared for it is refused afterwards, because the position has
    /// changed.
    async fn last_steps(
        &self,
        generation: Option<&Generation>,
    ) -> Result<Vec<Tracking>, StoreError> {
        let Some(generation) = generation else {
            return Ok(Vec::new());
        };
        let steps = self.steps_in_place(generation).await?;
        Ok(steps
            .into_iter()
            .map(|step| Tracking {
                to: RETIRED,
                ..step
            })
            .collect())
    }

    /// Returns steps that leave a generation at its position in each of the logs. The store refuses
    /// them if the generation has made another step by then.
    pub(crate) async fn steps_in_place(
        &self,
        generation: &Generation,
    ) -> Result<Vec<Tracking>, StoreError> {
        Ok(self
            .places_and_steps(generation)
            .await?
            .into_iter()
            .map(|(step, _)| step)
            .collect())
    }

    /// Returns such a step for each log, and the position as a place that can be proven.
    async fn places_and_steps(
        &self,
        generation: &Generation,
    ) -> Result<Vec<(Tracking, KnownPlace)>, StoreError> {
        let follower = self.follower(generation.number);
        let mut places_and_steps = Vec::new();
        for upstream in &self.upstreams {
            let query = NotesQuery::new(follower.clone(), *upstream, notes::GENERATIONS).limit(1);
            let FollowerNotes {
                position,
                revision,
                last_event,
                ..
            } = self.home.notes(query).await?;
            let step = Tracking::new(follower.clone(), *upstream, position, position)
                .with_revision(revision);
            places_and_steps.push((step, KnownPlace::new(position, last_event)));
        }
        Ok(places_and_steps)
    }

    fn generation(&self, number: u64) -> Generation {
        let tables = self
            .tables
            .iter()
            .map(|table| table.name.to_owned())
            .collect();
        Generation {
            number,
            version: self.version,
            tables,
        }
    }

    fn creation(&self, generation: &Generation) -> impl Iterator<Item = String> {
        self.tables
            .iter()
            .flat_map(|table| table.creation(generation.number))
    }

    fn change(&self, versioned: &VersionedIndex, index: &GenerationIndex) -> Tracking {
        let note = serde_json::to_string(index).expect("numbers and texts");
        Tracking::new(
            self.name.clone(),
            self.home.log_id(),
            versioned.position,
            versioned.position,
        )
        .with_revision(versioned.revision)
        .with_note(notes::GENERATIONS, note)
    }

    /// Repeats `attempt` until no other process has changed the note meanwhile.
    async fn until_undisturbed<T, F>(&self, attempt: impl Fn() -> F + Send) -> Result<T, SqlError>
    where
        F: Future<Output = Result<T, SqlError>> + Send,
    {
        loop {
            match attempt().await {
                Err(SqlError::Store(StoreError::TrackingConflict { .. })) => {
                    tokio::task::yield_now().await;
                }
                outcome => return outcome,
            }
        }
    }
}

async fn run(
    transaction: &mut dyn Transaction,
    statements: impl Iterator<Item = String>,
) -> Result<(), SqlError> {
    for statement in statements {
        transaction.execute(&statement, &[]).await?;
    }
    Ok(())
}

/// Makes several steps in one transaction.
pub(crate) async fn make(
    transaction: &mut dyn Transaction,
    steps: &[Tracking],
) -> Result<(), StoreError> {
    for step in steps {
        transaction.step(step).await?;
    }
    Ok(())
}
