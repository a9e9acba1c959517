//! The macros of `eventsourcing-kit` and `eventsourcing-core`. Both crates re-export them; use them from there.
//!
//! Each macro is a folder and a pipeline: `parse` reads the source into `model`, `check` reports every mistake, `expand`
//! writes code and cannot fail. After a mistake the macro writes a stub instead, so that the compiler reports nothing else.
//!
//! # The path of the framework
//!
//! Expansions name the framework by the name that `eventsourcing-kit` has among the `dependencies` or `dev-dependencies` of
//! `Cargo.toml`, or else `eventsourcing-core`. Three kinds of crates need the option `crate = path` of each macro: one that
//! gets the framework through another crate, one that has `eventsourcing-core` among its `dependencies` and
//! `eventsourcing-kit` among its `dev-dependencies` only, and one that renames `eventsourcing-kit` to `eventsourcing_kit`.
#![warn(missing_docs)]

mod aggregate;
mod errors;
mod event;
mod fingerprint;
#[cfg(test)]
mod golden;
mod laws;
mod messages;
mod options;
mod runtime_path;
mod source_text;
mod stored_name;
mod system;

use proc_macro::TokenStream;

/// Implements `Aggregate` for the struct or enum that is an aggregate's state.
///
/// ```
/// use eventsourcing_core::{Aggregate, event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(name = "account", snapshot = every(50))]
/// struct Account {
///     owner: String,
/// }
///
/// #[event]
/// impl Account {
///     fn opened(owner: String) -> Self {
///         Self { owner }
///     }
/// }
///
/// assert_eq!(Account::NAME, "account");
/// ```
///
/// The state needs serde's `Serialize` and `DeserializeOwned`, for snapshots, and a `Fold` of its events, which
/// [`#[event]`](macro@event) writes. It has no type parameters: one stored name stands for one type.
///
/// | Option of `#[aggregate(…)]` | Meaning | Without it |
/// |---|---|---|
/// | `name = "…"` | the stored name; give it before you rename the type | the type's name |
/// | `former_names("…", …)` | the stored names of earlier releases, the oldest first: streams under these names are continued | none |
/// | `next_name = "…"` | the stored name in the next release, for processes that run beside that release | none |
/// | `event = Path` | the type of its events | the type's name with `Event` |
/// | `snapshot = expression` | a `SnapshotPolicy`; `every` and `never` need no import | `never()` |
/// | `snapshot_version = 2` | retires the snapshots of other versions, 1 to 65535 | 1 |
/// | `crate = path` | the path of the framework | found in `Cargo.toml`, under any name |
///
/// # Snapshots
///
/// A snapshot is used only if state and fold are the same as when it was made. The derive notices changes of names, types
/// and serde attributes of fields and variants, of methods of the `#[event]` block, and of the options by which events of
/// earlier releases are read; documentation, visibility and layout do not count. The derive does not see other types and
/// functions: when one of them changes the result of the fold, raise `snapshot_version`. Nothing is lost when a snapshot is
/// retired; the next load reads more events.
///
/// # Expansion
///
/// ```text
/// impl Aggregate for Account {
///     type Event = AccountEvent;
///     const NAME: &'static str = "account";
///     const FINGERPRINT: Fingerprint = /* of the fields and the fold */;
///     fn snapshot_policy() -> impl SnapshotPolicy { every(50) }
///     /* and methods that call those of `Fold`, `Serialize` and `Deserialize` */
/// }
/// ```
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn derive_aggregate(input: TokenStream) -> TokenStream {
    aggregate::derive(input.into()).into()
}

/// Turns the methods of an `impl` block, the variants of an `enum`, or a `struct` into events.
///
/// # On an `impl` block
///
/// One method is one event. Its name is in the past tense, its parameters are the payload, and its body changes the state.
/// A method that returns `Self` creates the aggregate, a `&mut self` method changes it.
///
/// ```
/// use eventsourcing_core::{Aggregate, Event, Fold, UnexpectedEvent, event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// struct Account {
///     owner: String,
///     balance: i64,
/// }
///
/// /// What has happened to an account.
/// #[event]
/// impl Account {
///     fn opened(owner: String) -> Self {
///         Self { owner, balance: 0 }
///     }
///     fn credited(&mut self, amount: i64, #[serde(default)] note: Option<String>) {
///         self.balance += amount;
///     }
///     #[event(name = "OwnerChanged")]
///     fn owner_renamed(&mut self, owner: String) {
///         self.owner = owner;
///     }
/// }
///
/// let mut account = Account::create(AccountEvent::Opened { owner: "Alice".into() })?;
/// account.apply(AccountEvent::Credited { amount: 5, note: None })?;
/// assert_eq!(account.balance, 5);
/// assert_eq!(AccountEvent::OwnerRenamed { owner: "Bob".into() }.event_type().name, "OwnerChanged");
/// # Ok::<(), UnexpectedEvent>(())
/// ```
///
/// The block keeps its methods. The macro adds the enum, with the documentation of the block and its methods, with `Clone`,
/// `Debug`, `PartialEq` and serde's `Serialize` and `Deserialize`, and with the fold:
///
/// ```text
/// pub enum AccountEvent {
///     Opened { owner: String },
///     Credited { amount: i64, #[serde(default)] note: Option<String> },
///     OwnerRenamed { owner: String },
/// }
/// impl Event for AccountEvent { /* names, versions, payloads */ }
/// impl Fold<AccountEvent> for Account { /* one call of a method for each variant */ }
/// ```
///
/// The type of a parameter needs all of these traits, except those of serde if an attribute skips the field or stores it
/// `with` a module. The enum's `Clone`, `Debug` and `PartialEq` do what their derives would do; they are written out so that a
/// missing trait is reported once, at the parameter.
///
/// A method has owned parameters with plain names and no type parameters. The name of an unused parameter may begin with an
/// underscore, which is not part of the field's name. A method is not `async`, `const` or `unsafe`, and it cannot reject an
/// event, which has already happened; commands, which may reject, are methods of another `impl` block. Attributes of serde on
/// parameters and methods move to the enum.
///
/// # On an `enum` or a `struct`
///
/// The item stays unchanged and becomes an event type. The user writes its derives and its `Fold`. It needs `Clone` and
/// serde's `Serialize` and `Deserialize`; a `struct` without fields needs only `Clone`.
///
/// ```
/// use eventsourcing_core::{Event, event};
/// use serde::{Deserialize, Serialize};
///
/// #[event]
/// #[derive(Clone, Serialize, Deserialize)]
/// enum DoorEvent {
///     Opened,
///     #[event(name = "Shut")]
///     Closed { by: String },
/// }
///
/// assert_eq!(DoorEvent::TYPES[1].name, "Shut");
/// ```
///
/// # Options
///
/// | Option of `#[event(…)]` | Stands on | Meaning | Without it |
/// |---|---|---|---|
/// | `name = "…"` | method, variant, struct | the stored name; give it before you rename the event | the name of the variant or struct |
/// | `former_names("…", …)` | method, variant, struct | the stored names of earlier releases, in any of its versions | none |
/// | `version = 2` | method, variant, struct | the version of the payload's schema, 1 to 65535 | 1 |
/// | `upcast(from = 1, with = path)` | method, variant, struct | turns version 1 into version 2; one for each earlier version | none |
/// | `retired("…", …)` | `impl` block, `enum`, `struct` | stored names of events that are skipped from now on | none |
/// | `split(name = "…", version = 1, with = path)` | `impl` block, `enum`, `struct` | reads a stored event that is not recorded any more as other events | none; the version is 1 |
/// | `schema` | `impl` block, `enum`, `struct` | the events describe their stored form, for the schema lock; needs the feature `schema` | they do not |
/// | `enum = Name` | `impl` block | the name of the enum; also say `#[aggregate(event = Name)]` | the type's name with `Event` |
/// | `crate = path` | `impl` block, `enum`, `struct` | the path of the framework | found in `Cargo.toml`, under any name |
///
/// # When events change
///
/// Stored events stay unchanged forever; they are converted when they are read. A field with a serde default may be added
/// without any option. For any other change raise `version` and give a function that makes the next version of the payload:
/// from a type that serde reads, or from a `serde_json::Value`, to a type that serde writes, or a `Result` of it. Each function
/// leads to the next version, so that only the last one changes with the event; the macro reports every missing link.
///
/// ```
/// use eventsourcing_core::{Aggregate, event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// struct Account {
///     cents: i64,
/// }
///
/// #[event(split(name = "Moved", with = moved), retired("Frozen"))]
/// impl Account {
///     fn opened() -> Self {
///         Self { cents: 0 }
///     }
///     #[event(former_names("Credited"), version = 2, upcast(from = 1, with = in_cents))]
///     fn paid_in(&mut self, cents: i64) {
///         self.cents += cents;
///     }
///     fn paid_out(&mut self, cents: i64) {
///         self.cents -= cents;
///     }
/// }
///
/// #[derive(Deserialize)]
/// struct InEuros { euros: i64 }
///
/// #[derive(Serialize)]
/// struct InCents { cents: i64 }
///
/// fn in_cents(old: InEuros) -> InCents {
///     InCents { cents: old.euros * 100 }
/// }
///
/// #[derive(Deserialize)]
/// struct Moved { out: i64, back: i64 }
///
/// /// One event, an array, a `Vec` or an `Option` of them, or a `Result` of any of these.
/// fn moved(old: Moved) -> [AccountEvent; 2] {
///     [AccountEvent::PaidOut { cents: old.out }, AccountEvent::PaidIn { cents: old.back }]
/// }
/// ```
///
/// The chapter on evolution, `docs/evolution.md`, lists the changes and the options they need.
///
/// # Schema
///
/// With `schema` the events implement `DescribedEvent`: schemars describes their payloads in the form in which serde stores
/// them. The type of a field needs `schemars::JsonSchema`, unless `#[schemars(with = "String")]` or `schema_with` describes it;
/// such attributes are allowed on parameters and fields without a derive of `JsonSchema`. `SystemSchema` compares the schemas
/// with the locked ones.
///
/// # Stored form
///
/// The name, the version, and the bare fields in the form that serde gives them; `{}` for an event without fields.
/// The name alone selects the variant, so the order of variants may change, but serde must not hide the variants: the macro
/// rejects `tag`, `untagged`, `from` and similar options on the enum, `skip`, `other` and `with` on variants, and `cfg` on both.
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    event::attribute(arguments.into(), item.into()).into()
}

/// Implements `System` for a struct whose fields are applications and projections.
///
/// ```
/// use std::convert::Infallible;
///
/// use eventsourcing_core::{Aggregate, Application, MemoryStore, Projection, RecordedEvent, Runner, System, event};
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Aggregate, Serialize, Deserialize)]
/// # struct Account {}
/// # #[event]
/// # impl Account {
/// #     fn opened() -> Self { Self {} }
/// # }
/// struct AccountService {
///     app: Application,
/// }
///
/// impl From<Application> for AccountService {
///     fn from(app: Application) -> Self {
///         Self { app }
///     }
/// }
///
/// #[derive(Default)]
/// struct ActivityFeed;
///
/// impl Projection<Account> for ActivityFeed {
///     type Error = Infallible;
///
///     async fn project(&self, event: &RecordedEvent<Account>) -> Result<(), Infallible> {
///         Ok(())
///     }
/// }
///
/// #[derive(System)]
/// struct Bank {
///     #[application(aggregates(Account))]
///     accounts: AccountService,
///
///     #[projection(follows(accounts: Account))]
///     activity: ActivityFeed,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bank = Bank::start(MemoryStore::new(), Runner::concurrent()).await?;
/// bank.wait_until_caught_up().await?;
/// bank.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// An application is made with `From<Application>` and owns its aggregates: no other application writes their events, and it
/// cannot save any other aggregate, not even in its policy. An application that follows others implements `Policy` for each
/// aggregate it follows. A projection is made with `Default` and implements `Projection` for each aggregate it follows.
///
/// | Option | Stands on | Meaning | Without it |
/// |---|---|---|---|
/// | `#[application(aggregates(A, B))]` | application | the aggregates it owns | none; it must follow something |
/// | `#[application(follows(field: A, …))]` | application | the events its policy reacts to; with `A(Opened, Closed)` only these | no policy |
/// | `#[application(follows(…), timers)]` | application | its policy has timers and implements `Timers` | none; scheduling a timer fails |
/// | `#[projection(follows(field: A, …))]` | projection | the events it reads, of at least one aggregate; with `A(Opened, Closed)` only these | |
/// | `#[application(name = "…")]`, `#[projection(name = "…")]` | either | the stored name; give it before you rename the field | the field's name |
/// | `#[system(name = "…")]` | struct | the name in the definition | the struct's name |
/// | `#[system(schema)]` | struct | the system describes the stored form of all its events, for the schema lock; they have `#[event(schema)]` | it does not |
/// | `#[system(crate = path)]` | struct | the path of the framework | found in `Cargo.toml`, under any name |
///
/// # Events of newer releases
///
/// A follower that names the events it needs skips all others without decoding them, also those that only a newer release
/// knows. A follower that names none needs all: at an event that this release does not know it stops and waits, until a process
/// with the newer release takes it over.
///
/// # Checked while compiling
///
/// A followed field exists, is an application, and owns the aggregate; the follower has a `Policy` or `Projection` for that
/// aggregate; the named events exist; no part follows itself, or another one twice; names are unique; an aggregate has one owner.
///
/// # Expansion
///
/// The `impl System`, and three functions as visible as the struct:
///
/// ```text
/// impl Bank {
///     async fn start(stores: impl Into<Stores>, runner: Runner) -> Result<RunningSystem<Self>, SystemError>;
///     fn builder(stores: impl Into<Stores>) -> SystemBuilder<Self>;
///     fn definition() -> Definition;
/// }
/// ```
#[proc_macro_derive(System, attributes(system, application, projection))]
pub fn derive_system(input: TokenStream) -> TokenStream {
    system::derive(input.into()).into()
}

/// The macro `laws!` of the test kit, which passes on its own path in front of what the user wrote.
#[doc(hidden)]
#[proc_macro]
pub fn laws(input: TokenStream) -> TokenStream {
    laws::expand(input.into()).into()
}

/// The examples of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
