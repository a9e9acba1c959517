//! The contestants and their databases.

use std::sync::Arc;

use contest::{Contestant, Outcome};

use crate::by_hand::{Effort, Postgres, Sqlite};
use crate::ours::Ours;

/// The database of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Memory,
    Sqlite,
    Postgres,
}

/// The role of a contestant in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Peer,
    Raw,
    Limit,
}

/// A contestant by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    pub name: &'static str,
    pub kind: Kind,
    pub database: Database,
}

const fn entrant(name: &'static str, kind: Kind, database: Database) -> Entrant {
    Entrant {
        name,
        kind,
        database,
    }
}

pub const ENTRANTS: &[Entrant] = &[
    entrant("ours/memory", Kind::Ours, Database::Memory),
    entrant("ours/sqlite", Kind::Ours, Database::Sqlite),
    entrant("raw/sqlite", Kind::Raw, Database::Sqlite),
    entrant("limit/sqlite", Kind::Limit, Database::Sqlite),
    entrant("ours/postgres", Kind::Ours, Database::Postgres),
    entrant("cqrs-es", Kind::Peer, Database::Postgres),
    entrant("es-entity", Kind::Peer, Database::Postgres),
    entrant("eventually", Kind::Peer, Database::Postgres),
    entrant("disintegrate", Kind::Peer, Database::Postgres),
    entrant("esrs", Kind::Peer, Database::Postgres),
    entrant("eventastic", Kind::Peer, Database::Postgres),
    entrant("mire", Kind::Peer, Database::Postgres),
    entrant("raw/postgres", Kind::Raw, Database::Postgres),
    entrant("limit/postgres", Kind::Limit, Database::Postgres),
];

impl Entrant {
    /// Returns the entrant of this name.
    pub fn named(name: &str) -> Option<Self> {
        ENTRANTS
            .iter()
            .find(|entrant| entrant.name == name)
            .copied()
    }
}

/// Opens the contestant in this process. Peers have a program of their own.
pub async fn enter(contestant: String, place: String) -> Outcome<Arc<dyn Contestant>> {
    Ok(match contestant.as_str() {
        "ours/memory" => Arc::new(Ours::in_memory()),
        "ours/sqlite" => Arc::new(Ours::on_sqlite(&place).await?),
        "ours/postgres" => Arc::new(Ours::on_postgres(&place).await?),
        "raw/sqlite" => Arc::new(Sqlite::open(&place, Effort::Raw)?),
        "limit/sqlite" => Arc::new(Sqlite::open(&place, Effort::Limit)?),
        "raw/postgres" => Arc::new(Postgres::connect(&place, Effort::Raw).await?),
        "limit/postgres" => Arc::new(Postgres::connect(&place, Effort::Limit).await?),
        _ => return Err(format!("this program has no contestant {contestant}").into()),
    })
}
