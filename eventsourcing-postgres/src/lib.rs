//! The server store of `eventsourcing-core`: PostgreSQL 14 or later.
//!
//! [`PostgresStore`] keeps every promise of `docs/store-contract.md`. Appends of all tasks go to one queue, which commits
//! whatever has gathered in one round trip and one transaction; each append has its own outcome. Any number of processes
//! may write at the same time: they do not wait for one another, and still no reader ever skips an event.
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
//! An append is one call of the function `append()` of the store's schema: one round trip, one transaction. While one
//! batch commits the next gathers; a lone append never waits. Inside, the function takes the appender lock, which any
//! number of appends hold together, and only then draws positions. It compares what each append expects with what
//! is there, leaves out what does not fit, and writes the rest. Should another process write to the same stream in
//! between, the unique index refuses the second, and the batch runs again. It takes the lock alone where it has to win at
//! last, for a moment and not behind an append that hangs.
//!
//! Where a stream is guarded without being written to, a row takes the place of its next event and is gone at the end of the
//! transaction, so that those wait who write to that stream and nobody else. Readers never see such a row; logical
//! replication passes it on with a position below 0, and at once its end.
//!
//! # Why no reader skips an event
//!
//! A position is drawn before its event can be seen, so a reader may see 101 while 100 is still to come. Where a number is
//! missing, the store asks who holds the appender lock, and moves its ceiling over the gap only when all of them have
//! ended: then 100 has appeared or never will. It trusts no clock and no timeout, and waits for nobody but appends: not
//! for reports, dumps or other databases. An append whose client hangs holds back the log until the server ends it;
//! statements of this store are ended after the statement timeout. Three kinds of append no timeout ends: one that waits for a
//! synchronous standby (`synchronous_standby_names`) that is away, which is committed and stays so, also when its client has
//! gone; one in a transaction that a program or a human has left open; and a prepared transaction. Whoever holds back the log for
//! more than five seconds is named in a warning, and `log_holders` of the store tells at any time who it is, since when and what
//! it waits for; `pg_terminate_backend` takes the process id. Other appends do not wait, unless they write to the same stream or guard it.
//!
//! Whoever inserts into `events` by other means takes the lock too: a trigger sees to that. Reading from a replica is
//! refused, since a replica does not show the locks of its primary.
//!
//! # What happens when a server forgets
//!
//! A crash under [`Durability::Normal`], a fail-over to an asynchronous standby and a restore all lose the last commits, and the
//! positions are given out again. Each ends all connections first. So a connection that finds none of the earlier sessions of this
//! store on its server begins another *epoch* before it is used: what was decided about the log is forgotten, appends
//! that were decided before are refused, and every reader compares the last event it has seen with what is there now.
//! Connections that were ended for another reason cost a look and no more.
//!
//! A copy by logical replication, or of the rows alone, leaves the sequence of positions behind. That is found out when a
//! store connects or a writer reconnects, and the error says which statement sets it right. An event that was written before that is
//! durable, and followers that have passed its position do not see it.
//!
//! # What may be used by whom
//!
//! The schema is created, and later migrated, when a store connects with a role that may do so. For everything else
//! a role suffices that may add to the log but neither change nor delete what stands in it. These are its privileges,
//! as in the file `roles.sql` of this crate:
//!
//! ```sql
#![doc = include_str!("../roles.sql")]
//! ```
//!
//! A human reads the log with psql: `SELECT * FROM eventsourcing.readable_events ORDER BY position DESC LIMIT 10`.
//!
//! # How a connection is made
//!
//! Connections go straight to the server, or through a pooler in session mode: settings and prepared statements belong
//! to a connection. Of several hosts the one that takes writes is looked for.
//!
//! TLS follows `sslmode` as in libpq. `prefer`, the default, and `require` encrypt and do not judge the certificate;
//! `verify-ca`, and `require` with `sslrootcert`, want one that `sslrootcert` vouches for, `verify-full` one that bears the host's name
//! besides. `sslrootcert` is a PEM file with certificates of authorities, or with the server's own: one that is
//! self-signed can be pinned. Certificates of X.509 version 1 and names in the common name are taken as libpq takes them. No file
//! in the home folder and no variable of the environment is read.
//!
//! These parameters of libpq are honoured: `host`, `hostaddr`, `port`, `user`, `password`, `dbname`, `options`,
//! `application_name`, `fallback_application_name`, `client_encoding` (UTF8), `connect_timeout`, `keepalives`, `keepalives_idle`,
//! `keepalives_interval`, `keepalives_count`, `tcp_user_timeout`, `load_balance_hosts`, `target_session_attrs` (`any`,
//! `read-write` or `primary`), `channel_binding`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslcertmode`, `sslsni`, `sslnegotiation`
//! (`postgres`), `ssl_min_protocol_version`, `ssl_max_protocol_version`. Every other one is refused, by name, with what to do
//! instead.
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
mod error;
mod fences;
mod lease;
mod lives;
mod log;
mod log_holders;
mod notify;
mod parameters;
mod plain;
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
