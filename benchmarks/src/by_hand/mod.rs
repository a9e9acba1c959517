//! Code written by hand without a library (`raw`), and the limit of the database (`limit`).
//!
//! `raw` is a table of events, one statement that reads a stream and one that inserts a row: two round trips for each command.
//! `limit` decides nothing: it writes and reads the same rows in the fastest way of the database.

mod postgres;
mod sqlite;

pub use postgres::Postgres;
pub use sqlite::Sqlite;

use contest::{Outcome, REFERENCE, amount};
use serde::{Deserialize, Serialize};

/// The effort besides moving rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Reads the stream before it inserts a row, and decodes all rows it reads.
    Raw,
    /// Only inserts and reads rows.
    Limit,
}

const OPENED: &str = "opened";
const CREDITED: &str = "credited";
/// The metadata that the framework stores beside the payload too.
const METADATA: &[u8] = br#"{"correlation_id":"0192f0c1-2f3a-7c4e-8a51-5b0f2f6f7a10"}"#;

#[derive(Serialize, Deserialize)]
struct Opened {
    owner: String,
}

#[derive(Serialize, Deserialize)]
struct Credited {
    amount: u64,
    reference: String,
}

/// A row to write.
struct Row {
    version: i64,
    name: &'static str,
    payload: Vec<u8>,
}

impl Row {
    fn opened() -> Outcome<Self> {
        let payload = serde_json::to_vec(&Opened {
            owner: "Alice".to_owned(),
        })?;
        Ok(Self {
            version: 1,
            name: OPENED,
            payload,
        })
    }

    fn credited(version: i64, amount: u64) -> Outcome<Self> {
        let payload = serde_json::to_vec(&Credited {
            amount,
            reference: REFERENCE.to_owned(),
        })?;
        Ok(Self {
            version,
            name: CREDITED,
            payload,
        })
    }

    /// Returns a new account with this number of events.
    fn written(events: u64) -> Outcome<Vec<Self>> {
        let credits = (1..events).map(|number| Self::credited(number as i64 + 1, amount(number)));
        std::iter::once(Self::opened()).chain(credits).collect()
    }
}

/// Returns the effect of a row on the balance.
fn decode(name: &str, payload: &[u8]) -> Outcome<u64> {
    match name {
        CREDITED => Ok(serde_json::from_slice::<Credited>(payload)?.amount),
        _ => serde_json::from_slice::<Opened>(payload)
            .map(|_| 0)
            .map_err(Into::into),
    }
}
