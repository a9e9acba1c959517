//! Refuses a start in which a follower has disappeared while another one would begin at the first
//! event. A policy under a new name would otherwise have every effect a second time.
//!
//! Several programs may share a store, and several releases of a program may run at once. So each
//! system records its policies and foreign projections in its stores. A follower of another system
//! is not missed here, unless the one that begins records events of the same aggregates. Followers
//! without a record, from earlier releases of the framework, count as those of the starting system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SystemError;
use super::notes;
use crate::store::{
    Append, FollowerStore, FollowersQuery, LogId, LogQuery, Name, NotesQuery, Position, StoreError,
    Tracking, behind_rejections,
};

/// The number of followers that are read at once.
const FOLLOWERS_PER_PAGE: usize = 1_000;
/// The number of declarations that are read at once.
const DECLARATIONS_PER_PAGE: usize = 1_000;

/// A follower of the system whose effects cannot be taken back: a policy, or a projection into
/// something foreign.
pub(super) struct Declared {
    pub(super) name: Name,
    /// The store that keeps its position.
    pub(super) home: Arc<dyn FollowerStore>,
    pub(super) logs: Vec<DeclaredLog>,
    /// The stored names of the aggregates whose events it records.
    pub(super) owns: BTreeSet<String>,
}

/// A log that a declared follower follows.
pub(super) struct DeclaredLog {
    pub(super) upstream: Arc<dyn FollowerStore>,
    /// The stored names of the aggregates whose events it takes.
    pub(super) takes: Vec<Name>,
}

/// A record of a system about one of its followers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Declaration {
    owns: BTreeSet<String>,
    /// The follower was removed from the system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// The followers of a system that is being started, and the stores that may know others.
pub(super) struct KnownFollowers {
    pub(super) system: &'static str,
    pub(super) declared: Vec<Declared>,
    /// The followers whose removal is confirmed.
    pub(super) removed: BTreeSet<Name>,
    pub(super) stores: Vec<Arc<dyn FollowerStore>>,
}

/// The knowledge of one store.
struct StoreRecords {
    store: Arc<dyn FollowerStore>,
    followers: BTreeMap<Name, Known>,
    /// By system and follower.
    declarations: BTreeMap<(String, Name), Declaration>,
}

/// The declarations of a system, to be recorded after all checks of its start have passed.
pub(super) struct KnownDeclarations<'a> {
    known: &'a KnownFollowers,
    all_records: Vec<StoreRecords>,
}

impl KnownDeclarations<'_> {
    pub(super) async fn record(&self) -> Result<(), StoreError> {
        for records in &self.all_records {
            self.known.record(records).await?;
        }
        Ok(())
    }
}

/// A follower that has made a step.
#[derive(Default)]
struct Known {
    /// The position of its furthest part.
    position: Position,
    /// The names under which it or its partitions keep their positions, and in which logs.
    parts: Vec<(Name, LogId)>,
}

impl KnownFollowers {
    /// Reads the followers that the stores know, and refuses a start that could repeat effects.
    pub(super) async fn agree(&self) -> Result<KnownDeclarations<'_>, SystemError> {
        if let Some(name) = self
            .removed
            .iter()
            .find(|name| self.declared.iter().any(|declared| declared.name == **name))
        {
            let system = self.system;
            let reason = format!(
                "{system} declares the follower {name}; remove it from removed_followers([…])"
            );
            return Err(SystemError::Invalid { reason });
        }
        let mut all_records = Vec::with_capacity(self.stores.len());
        for store in &self.stores {
            all_records.push(StoreRecords::read(store).await?);
        }
        self.refuse_repetition(&all_records).await?;
        Ok(KnownDeclarations {
            known: self,
            all_records,
        })
    }

    async fn refuse_repetition(&self, all_records: &[StoreRecords]) -> Result<(), SystemError> {
        let new_followers = self.new_followers(all_records);
        if new_followers.is_empty() {
            return Ok(());
        }
        let missing = self.missing(all_records, &new_followers).await?;
        let Some(first_missing) = missing.first() else {
            return Ok(());
        };
        for declared in new_followers {
            if declared.has_events().await? {
                return Err(self.refusal(declared, first_missing, &missing));
            }
        }
        Ok(())
    }

    /// Returns the declared followers that have never made a step.
    fn new_followers(&self, all_records: &[StoreRecords]) -> Vec<&Declared> {
        self.declared
            .iter()
            .filter(|declared| all_records.iter().all(|records| !records.knows(declared)))
            .collect()
    }

    /// Returns the followers that have processed events, and that this system should declare or may
    /// have declared under another name.
    async fn missing(
        &self,
        all_records: &[StoreRecords],
        new_followers: &[&Declared],
    ) -> Result<Vec<Name>, StoreError> {
        let mut missing = Vec::new();
        for records in all_records {
            for (name, known) in self.not_declared(records) {
                let may_be_lost = match records.may_be_of(self.system, name, new_followers) {
                    Some(may_be_lost) => may_be_lost,
                    None => records.has_processed_events(known).await?,
                };
                if may_be_lost {
                    missing.push(name.clone());
                }
            }
        }
        Ok(missing)
    }

    /// Returns the followers that have advanced in a store, and that are neither declared there nor
    /// removed.
    fn not_declared<'a>(&self, records: &'a StoreRecords) -> Vec<(&'a Name, &'a Known)> {
        let is_declared = |name: &Name| {
            self.declared
                .iter()
                .any(|declared| declared.name == *name && declared.is_at_home_in(records))
        };
        let have_moved = records
            .followers
            .iter()
            .filter(|(_, known)| known.position > Position::ZERO);
        have_moved
            .filter(|(name, _)| !is_declared(name) && !self.removed.contains(*name))
            .collect()
    }

    fn refusal(&self, begins: &Declared, missing: &Name, all_missing: &[Name]) -> SystemError {
        let system = self.system;
        let begins = &begins.name;
        let reason = if *missing == *begins {
            format!(
                "follower {begins} has kept its position in another store up to now and would begin at the first event, with \
                 every effect a second time; give its application the store that it had"
            )
        } else {
            let names: Vec<_> = all_missing
                .iter()
                .map(|name| format!("{:?}", name.as_str()))
                .collect();
            format!(
                "{system} does not declare the follower {missing} any more, which the store knows, and {begins} would begin \
                 at the first event of a log that has events for it. If {begins} is {missing} under another name, every \
                 effect would come a second time: keep the name, with name = {old:?} in the attribute of the field. If \
                 {missing} was removed on purpose, confirm that: builder(…).removed_followers([{names}])",
                old = missing.as_str(),
                names = names.join(", "),
            )
        };
        SystemError::Invalid { reason }
    }

    /// Records the declared and the removed followers that are not recorded yet. The step goes from
    /// zero to zero and names no revision, so it cannot conflict with another process that records
    /// the same at this moment.
    async fn record(&self, records: &StoreRecords) -> Result<(), StoreError> {
        let mut notes = BTreeMap::new();
        for declared in self
            .declared
            .iter()
            .filter(|declared| declared.is_at_home_in(records))
        {
            let declaration = Declaration {
                owns: declared.owns.clone(),
                removed: false,
            };
            notes.insert(declared.name.clone(), declaration);
        }
        for name in self
            .removed
            .iter()
            .filter(|name| records.followers.contains_key(*name))
        {
            let owns = records
                .declaration(self.system, name)
                .map(|known| known.owns.clone())
                .unwrap_or_default();
            notes.insert(
                name.clone(),
                Declaration {
                    owns,
                    removed: true,
                },
            );
        }
        notes.retain(|name, declaration| {
            records.declaration(self.system, name) != Some(declaration)
        });
        if notes.is_empty() {
            return Ok(());
        }
        let step = Tracking::new(
            notes::SYSTEMS,
            records.store.log_id(),
            Position::ZERO,
            Position::ZERO,
        );
        let step = notes.iter().fold(step, |step, (name, declaration)| {
            let note = serde_json::to_string(declaration).expect("names are JSON");
            step.with_note(notes::declaration(self.system, name), note)
        });
        records
            .store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await?;
        Ok(())
    }
}

impl Declared {
    fn is_at_home_in(&self, records: &StoreRecords) -> bool {
        self.home.log_id() == records.store.log_id()
    }

    /// Returns `true` if there is an event that the follower would process.
    async fn has_events(&self) -> Result<bool, StoreError> {
        for log in &self.logs {
            let mut after = Position::ZERO;
            loop {
                let page = log.upstream.read_log(log.first_after(after)).await?;
                if !page.events.is_empty() {
                    return Ok(true);
                }
                if page.ceiling == after {
                    break;
                }
                after = page.ceiling;
            }
        }
        Ok(false)
    }
}

impl DeclaredLog {
    fn first_after(&self, position: Position) -> LogQuery {
        LogQuery::after(position)
            .limit(1)
            .categories(self.takes.iter().cloned())
    }
}

impl StoreRecords {
    async fn read(store: &Arc<dyn FollowerStore>) -> Result<Self, StoreError> {
        let followers = known_followers(&**store).await?;
        let declarations = declarations(&**store).await?;
        Ok(Self {
            store: Arc::clone(store),
            followers,
            declarations,
        })
    }

    /// Returns `true` if the follower is at home here and has made a step.
    fn knows(&self, declared: &Declared) -> bool {
        declared.is_at_home_in(self) && self.followers.contains_key(&declared.name)
    }

    fn declaration(&self, system: &str, follower: &Name) -> Option<&Declaration> {
        self.declarations
            .get(&(system.to_owned(), follower.clone()))
    }

    /// Returns `true` if a follower that is not declared may be one that `system` has lost; `None`
    /// if no system has declared it.
    fn may_be_of(
        &self,
        system: &str,
        follower: &Name,
        new_followers: &[&Declared],
    ) -> Option<bool> {
        if let Some(own) = self.declaration(system, follower) {
            return Some(!own.removed);
        }
        let others: Vec<_> = self
            .declarations
            .iter()
            .filter(|((_, name), _)| name == follower)
            .collect();
        let is_of = |other: &Declaration| {
            new_followers
                .iter()
                .any(|begins| !begins.owns.is_disjoint(&other.owns))
        };
        (!others.is_empty()).then(|| others.iter().any(|(_, other)| is_of(other)))
    }

    /// Returns `true` for a follower of a system, and `false` for one that a program runs by hand:
    /// those note no checksums.
    async fn has_processed_events(&self, known: &Known) -> Result<bool, StoreError> {
        for (part, upstream) in &known.parts {
            let query = NotesQuery::new(part.clone(), *upstream, notes::CHECKSUMS).limit(1);
            if !self.store.notes(query).await?.notes.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the followers of a store that may be policies or foreign projections, with the
/// partitions of one joined.
async fn known_followers(store: &dyn FollowerStore) -> Result<BTreeMap<Name, Known>, StoreError> {
    let mut followers = BTreeMap::<Name, Known>::new();
    let mut query = FollowersQuery::all().limit(FOLLOWERS_PER_PAGE);
    loop {
        let page = store.followers(query.clone()).await?;
        let is_last = page.len() < FOLLOWERS_PER_PAGE;
        let Some(last) = page.last() else {
            return Ok(followers);
        };
        query = match behind_rejections(&last.follower) {
            // A store can keep a million rejections under hidden names, and none of them is a
            // follower. The next page starts behind all of them, or a start would read them all.
            Some(beyond_all) => query.after(beyond_all, LogId::from_uuid(Uuid::max())),
            None => query.after(last.follower.clone(), last.upstream),
        };
        for place in page {
            let Some(whole) = notes::declared(&place.follower) else {
                continue;
            };
            let known = followers.entry(whole).or_default();
            known.position = known.position.max(place.position);
            known.parts.push((place.follower, place.upstream));
        }
        if is_last {
            return Ok(followers);
        }
    }
}

async fn declarations(
    store: &dyn FollowerStore,
) -> Result<BTreeMap<(String, Name), Declaration>, StoreError> {
    let mut declarations = BTreeMap::new();
    let mut query =
        NotesQuery::new(notes::SYSTEMS, store.log_id(), "").limit(DECLARATIONS_PER_PAGE);
    loop {
        let notes = store.notes(query.clone()).await?.notes;
        let Some((last, _)) = notes.last_key_value() else {
            return Ok(declarations);
        };
        query = query.after(last.clone());
        for (key, note) in &notes {
            let corrupt = |error| {
                StoreError::corrupt(
                    format!("the declaration of the follower {key}, {note:?}"),
                    error,
                )
            };
            let declaration = serde_json::from_str(note).map_err(corrupt)?;
            if let Some((system, follower)) = notes::read_declaration(key) {
                declarations.insert((system.to_owned(), follower), declaration);
            }
        }
    }
}
