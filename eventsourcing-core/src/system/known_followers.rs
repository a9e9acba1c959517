//! Refuses a start in which a follower has disappeared while another one would begin at the first event, as when a policy
//! is given another name: it would have every effect a second time.
//!
//! Several programs may share a store, and releases of one program run beside each other. So each system records in its
//! stores which policies and foreign projections it has declared, and what another system has declared is not missed
//! here, unless the follower that begins records events of the same aggregates. Followers that no system has declared,
//! because only earlier releases of the framework have run, count as those of the system that is started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SystemError;
use super::notes;
use crate::store::{
    Append, EventStore, FollowersQuery, LogId, LogQuery, Name, NotesQuery, Position, StoreError,
    Tracking,
};

/// The number of followers that are read at once.
const FOLLOWERS_PER_PAGE: usize = 1_000;
/// The number of declarations that are read at once.
const DECLARATIONS_PER_PAGE: usize = 1_000;

/// A follower of the system whose effects cannot be taken back: a policy, or a projection into something foreign.
pub(super) struct Declared {
    pub(super) name: Name,
    /// Keeps its position.
    pub(super) home: Arc<dyn EventStore>,
    pub(super) logs: Vec<DeclaredLog>,
    /// The stored names of the aggregates whose events it records.
    pub(super) owns: BTreeSet<String>,
}

/// A log that a declared follower follows.
pub(super) struct DeclaredLog {
    pub(super) upstream: Arc<dyn EventStore>,
    /// The stored names of the aggregates whose events it takes.
    pub(super) takes: Vec<Name>,
}

/// A record of a system about one of its followers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Declaration {
    owns: BTreeSet<String>,
    /// It was taken out of the system on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// The followers of a system that is being started, and the stores that may know others.
pub(super) struct KnownFollowers {
    pub(super) system: &'static str,
    pub(super) declared: Vec<Declared>,
    /// The followers that were taken out on purpose.
    pub(super) removed: BTreeSet<Name>,
    pub(super) stores: Vec<Arc<dyn EventStore>>,
}

/// The knowledge of one store.
struct Book {
    store: Arc<dyn EventStore>,
    followers: BTreeMap<Name, Known>,
    /// By system and follower.
    declarations: BTreeMap<(String, Name), Declaration>,
}

/// The declarations of a system, to be recorded when nothing speaks against its start any more.
pub(super) struct KnownDeclarations<'a> {
    known: &'a KnownFollowers,
    books: Vec<Book>,
}

impl KnownDeclarations<'_> {
    pub(super) async fn record(&self) -> Result<(), StoreError> {
        for book in &self.books {
            self.known.record(book).await?;
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
    /// Reads what the stores know, and refuses a start that could have effects a second time.
    pub(super) async fn agree(&self) -> Result<KnownDeclarations<'_>, SystemError> {
        if let Some(name) = self
            .removed
            .iter()
            .find(|name| self.declared.iter().any(|declared| declared.name == **name))
        {
            let system = self.system;
            let reason = format!(
                "{system} declares the follower {name}; take it out of removed_followers([…])"
            );
            return Err(SystemError::Invalid { reason });
        }
        let mut books = Vec::with_capacity(self.stores.len());
        for store in &self.stores {
            books.push(Book::read(store).await?);
        }
        self.refuse_repetition(&books).await?;
        Ok(KnownDeclarations { known: self, books })
    }

    async fn refuse_repetition(&self, books: &[Book]) -> Result<(), SystemError> {
        let beginning = self.beginning(books);
        if beginning.is_empty() {
            return Ok(());
        }
        let missing = self.missing(books, &beginning).await?;
        let Some(first_missing) = missing.first() else {
            return Ok(());
        };
        for declared in beginning {
            if declared.has_events().await? {
                return Err(self.refusal(declared, first_missing, &missing));
            }
        }
        Ok(())
    }

    /// Returns the declared followers that have never made a step.
    fn beginning(&self, books: &[Book]) -> Vec<&Declared> {
        self.declared
            .iter()
            .filter(|declared| books.iter().all(|book| !book.knows(declared)))
            .collect()
    }

    /// The followers that have processed events, and that this system should have or may have had under another name.
    async fn missing(
        &self,
        books: &[Book],
        beginning: &[&Declared],
    ) -> Result<Vec<Name>, StoreError> {
        let mut missing = Vec::new();
        for book in books {
            for (name, known) in self.not_declared(book) {
                let may_be_lost = match book.may_be_of(self.system, name, beginning) {
                    Some(may_be_lost) => may_be_lost,
                    None => book.has_processed_events(known).await?,
                };
                if may_be_lost {
                    missing.push(name.clone());
                }
            }
        }
        Ok(missing)
    }

    /// The followers that have come anywhere in a store, and that are neither declared there nor removed.
    fn not_declared<'a>(&self, book: &'a Book) -> Vec<(&'a Name, &'a Known)> {
        let is_declared = |name: &Name| {
            self.declared
                .iter()
                .any(|declared| declared.name == *name && declared.is_at_home_in(book))
        };
        let have_moved = book
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
                 {missing} was removed on purpose, say so: builder(…).removed_followers([{names}])",
                old = missing.as_str(),
                names = names.join(", "),
            )
        };
        SystemError::Invalid { reason }
    }

    /// Records what is declared and what is removed, as far as that is not recorded. A step from zero to zero under no
    /// revision cannot get in the way of another process that does the same.
    async fn record(&self, book: &Book) -> Result<(), StoreError> {
        let mut notes = BTreeMap::new();
        for declared in self
            .declared
            .iter()
            .filter(|declared| declared.is_at_home_in(book))
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
            .filter(|name| book.followers.contains_key(*name))
        {
            let owns = book
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
        notes.retain(|name, declaration| book.declaration(self.system, name) != Some(declaration));
        if notes.is_empty() {
            return Ok(());
        }
        let step = Tracking::new(
            notes::SYSTEMS,
            book.store.log_id(),
            Position::ZERO,
            Position::ZERO,
        );
        let step = notes.iter().fold(step, |step, (name, declaration)| {
            let note = serde_json::to_string(declaration).expect("names are JSON");
            step.with_note(notes::declaration(self.system, name), note)
        });
        book.store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await?;
        Ok(())
    }
}

impl Declared {
    fn is_at_home_in(&self, book: &Book) -> bool {
        self.home.log_id() == book.store.log_id()
    }

    /// Returns `true` if there is an event that it would process.
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

impl Book {
    async fn read(store: &Arc<dyn EventStore>) -> Result<Self, StoreError> {
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

    /// Returns `true` if a follower that is not declared may be one that `system` has lost; `None` if no system has
    /// declared it.
    fn may_be_of(&self, system: &str, follower: &Name, beginning: &[&Declared]) -> Option<bool> {
        if let Some(own) = self.declaration(system, follower) {
            return Some(!own.removed);
        }
        let others: Vec<_> = self
            .declarations
            .iter()
            .filter(|((_, name), _)| name == follower)
            .collect();
        let is_of = |other: &Declaration| {
            beginning
                .iter()
                .any(|begins| !begins.owns.is_disjoint(&other.owns))
        };
        (!others.is_empty()).then(|| others.iter().any(|(_, other)| is_of(other)))
    }

    /// Returns `true` for a follower of a system, and `false` for one that a program runs by hand: those note no checksums.
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

/// The followers of a store that may be policies or foreign projections, by the name of the whole.
async fn known_followers(store: &dyn EventStore) -> Result<BTreeMap<Name, Known>, StoreError> {
    let mut followers = BTreeMap::<Name, Known>::new();
    let mut query = FollowersQuery::all().limit(FOLLOWERS_PER_PAGE);
    loop {
        let page = store.followers(query.clone()).await?;
        let is_last = page.len() < FOLLOWERS_PER_PAGE;
        let Some(last) = page.last() else {
            return Ok(followers);
        };
        query = match notes::behind_rejections(&last.follower) {
            // There may be a million kept refusals, and they are no followers: on to what comes after all of them.
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
    store: &dyn EventStore,
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
