//! The server store of `eventsourcing-core`: PostgreSQL 14 or later.
//!
//! [`PostgresStore`] keeps every promise of `docs/store-contract.md`. One queue commits the appends of all tasks:
//! everything that queued up during one commit shares the next, in one round trip and one transaction, and each append
//! has its own outcome. Any number of processes may write at the same time: they do not wait for one another, and still
//! no reader ever skips an event.
//!
//! ```no_run
//! use eventsourcing_core::store::{Append, CodecId, EventStore, Expected, LogQuery, NewEvent, Position, StreamId};
//! use eventsourcing_postgres::PostgresStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = PostgresStore::connect("postgres://bank:secret@localhost/bank").await?;
//! let account = StreamId::new("account", uuid::Uuid::now_v7());
//! let opened = NewEvent {
//!     name: "opened".into(),
//!     schema_version: 1,
//!     codec: CodecId(0),
//!     payload: b"{}".to_vec(),
//!     metadata: Vec::new(),
//! };
//! let append = Append::new(jiff::Timestamp::now()).with_events(account, Expected::NoStream, vec![opened]);
//! store.append(append).await?;
//!
//! let page = store.read_log(LogQuery::after(Position::ZERO)).await?;
//! assert_eq!(page.events[0].name.as_str(), "opened");
//! # Ok(())
//! # }
//! ```
//!
//! # How appends are committed
//!
//! An append is one call of the function `append()` of the store's schema: one round trip, one transaction. The next
//! batch queues up while one commits; a lone append never waits. The function takes the appender lock, which any number
//! of appends hold together, and only then draws positions. It compares the version that each append expects with the
//! stored one, leaves out the appends that conflict, and writes the rest. If another process writes to the same stream
//! in between, the unique index refuses the second write, and the batch runs again. After repeated conflicts the batch
//! takes the lock exclusively, with a short timeout, so that it never queues behind an append that hangs.
//!
//! A stream that is guarded without being written to gets a row in the place of its next event, which is deleted at the
//! end of the transaction. So writers of that stream wait, and no others. Readers never see such a row; logical
//! replication transmits it with a negative position, followed by its deletion.
//!
//! # Why no reader skips an event
//!
//! A position is drawn before its event is visible, so a reader may see 101 while 100 is still to come. Where a number
//! is missing, the store lists the holders of the appender lock, and raises its ceiling over the gap only when all of
//! them have ended: then 100 has appeared or never will. It trusts no clock and no timeout, and waits for appends only:
//! not for reports, dumps or other databases. An append whose client hangs holds back the log until the server ends it;
//! the server ends statements of this store after the statement timeout. No timeout ends three kinds of append: one
//! that waits for an absent synchronous standby (`synchronous_standby_names`), which is committed and remains so, even
//! if its client has gone; one in a transaction that a program or a person has left open; and a prepared transaction. A
//! warning names each transaction that holds back the log for more than five seconds, and `log_holders` of the store
//! tells at any time the process, the duration and the cause; `pg_terminate_backend` takes the process id. Other
//! appends do not wait, unless they write to the same stream or guard it.
//!
//! An INSERT into `events` by other means takes the lock too, by a trigger. Reading from a replica is refused, because
//! a replica does not show the locks of its primary.
//!
//! # What happens when a server forgets
//!
//! A crash under [`Durability::Normal`], a fail-over to an asynchronous standby and a restore all lose the last
//! commits, and their positions are given to other events. Each of these first ends all connections. So a connection
//! that finds none of the earlier sessions of this store on its server begins another *epoch* before it is used: the
//! conclusions about the log are discarded, appends that were decided before are refused, and every reader compares the
//! last event that it has seen with the log. Connections that end for another reason cost one such comparison.
//!
//! A copy by logical replication, or of the rows alone, leaves the sequence of positions behind. The store notices that
//! when it connects or a writer reconnects, and the error says which statement corrects it. An event that was written
//! before the correction is durable, but followers that have passed its position do not see it.
//!
//! # Required privileges
//!
//! The schema is created, and later migrated, when a store connects with a role that has these rights. All other work
//! requires only a role that may add to the log, and may neither change nor delete its rows. The file `roles.sql` of
//! this crate lists its privileges:
//!
//! ```sql
#![doc = include_str!("../roles.sql")]
//! ```
//!
//! People read the log with psql: `SELECT * FROM eventsourcing.readable_events ORDER BY position DESC LIMIT 10`.
//!
//! # How a connection is made
//!
//! Connections go directly to the server, or through a pooler in session mode, because settings and prepared statements
//! belong to a connection. Of several hosts the store connects to the one that takes writes.
//!
//! TLS follows `sslmode` as in libpq. `prefer`, the default, and `require` encrypt without verifying the certificate;
//! `verify-ca`, and `require` with `sslrootcert`, demand one that `sslrootcert` vouches for, and `verify-full` also one
//! with the host's name. `sslrootcert` is a PEM file with certificates of authorities, or with the server's own: a
//! self-signed certificate can be pinned. Certificates of X.509 version 1 and names in the common name are accepted as
//! in libpq. No file of the home folder and no environment variable is read.
//!
//! These parameters of libpq are honoured: `host`, `hostaddr`, `port`, `user`, `password`, `dbname`, `options`,
//! `application_name`, `fallback_application_name`, `client_encoding` (UTF8), `connect_timeout`, `keepalives`, `keepalives_idle`,
//! `keepalives_interval`, `keepalives_count`, `tcp_user_timeout`, `load_balance_hosts`, `target_session_attrs` (`any`,
//! `read-write` or `primary`), `channel_binding`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslcertmode`, `sslsni`, `sslnegotiation`
//! (`postgres`), `ssl_min_protocol_version`, `ssl_max_protocol_version`. Every other one is refused, by name, with advice.
#![warn(missing_docs)]

mod acknowledged;
mod address;
mod batch;
mod certificate;
mod checksums;
mod commit;
mod config;
mod connection_string;
mod database;
mod epochs;
mod error;
mod fast_append;
mod fences;
mod lease;
mod log;
mod log_holders;
mod notify;
mod open;
mod parameters;
mod read;
mod readers;
mod rows;
mod schema;
mod session;
mod signal;
mod sqlstate;
mod statement;
mod store;
mod tls;
mod tracking;
mod transaction;
mod values;

pub use config::PostgresOptions;
pub use eventsourcing_core::store::Durability;
pub use store::PostgresStore;

/// The examples of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
