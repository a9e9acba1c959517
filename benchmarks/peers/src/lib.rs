//! The Rust peers on PostgreSQL, each through its published crates, each used as its documentation says a bank should
//! use it.
//!
//! One file a peer. What they have in common is the [`pool`] of most of them, and nothing else: every peer has its own
//! events, since most want to have them their way.

mod cqrs_es;
mod disintegrate;
mod es_entity;
mod esrs;
mod eventastic;
mod eventually;
mod mire;
mod pool;

use std::sync::Arc;

use contest::{Contestant, Outcome};

/// The names of the peers.
pub const PEERS: &[&str] = &[
    "cqrs-es",
    "disintegrate",
    "es-entity",
    "esrs",
    "eventastic",
    "eventually",
    "mire",
];

/// The peer of this name in the PostgreSQL database at `place`, an address. Makes its tables, if they are not there.
///
/// # Errors
/// There is no such peer, or its tables cannot be made.
pub async fn enter(peer: String, place: String) -> Outcome<Arc<dyn Contestant>> {
    Ok(match peer.as_str() {
        "cqrs-es" => Arc::new(cqrs_es::Bank::open(&place).await?),
        "disintegrate" => Arc::new(disintegrate::Bank::open(&place).await?),
        "es-entity" => Arc::new(es_entity::Bank::open(&place).await?),
        "esrs" => Arc::new(esrs::Bank::open(&place).await?),
        "eventastic" => Arc::new(eventastic::Bank::open(&place).await?),
        "eventually" => Arc::new(eventually::Bank::open(&place).await?),
        "mire" => Arc::new(mire::Bank::open(&place).await?),
        _ => {
            return Err(
                format!("there is no peer {peer}; name one of {}", PEERS.join(", ")).into(),
            );
        }
    })
}
