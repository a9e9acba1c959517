//! Translates the error codes of PostgreSQL into the caller's next step, with advice.
//!
//! `Corrupt` stands only for stored data that contradicts itself. Tables that the server does not find may be hidden by
//! a pooler or by privileges, and an operation that fails now may succeed later.

use tokio_postgres::error::DbError;

/// The caller's next step, and the reason for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Unavailable(String),
    Corrupt(String),
    Invalid(String),
}

/// The advice for a pooler that is not in session mode.
pub(crate) const POOLER: &str = "a pooler in transaction or statement mode gives each statement another connection of the server, \
     so that settings and prepared statements are lost; connect to the server itself, or through a pooler in session mode \
     (pool_mode = session)";

/// Translates an error of the server.
pub(crate) fn meaning_of(error: &DbError) -> Meaning {
    let said = match error.detail() {
        // The detail of a unique index shows values, so it is left out; that of a starting server shows its progress.
        Some(detail) if class_of(error) == "57" => format!("{} ({detail})", error.message()),
        _ => error.message().to_owned(),
    };
    let said = said.replace('\n', " ");
    match class_of(error) {
        "08" | "25" | "28" | "3D" => meaning_of_connection(error, said),
        "53" | "55" | "57" | "58" => meaning_of_resource(error, said),
        "26" | "3F" | "42" => meaning_of_name(error, said),
        "22" => Meaning::Invalid(format!("the server refuses a value: {said}")),
        "23" => meaning_of_constraint(error, said),
        "54" => Meaning::Invalid(format!(
            "a value is larger than PostgreSQL can store: {said}"
        )),
        "XX" if ["XX001", "XX002"].contains(&error.code().code()) => {
            Meaning::Corrupt(format!("the server's files are damaged: {said}"))
        }
        _ => Meaning::Unavailable(said),
    }
}

/// Translates the refusal of a connection, a user, a database or a write.
fn meaning_of_connection(error: &DbError, said: String) -> Meaning {
    let advice = match error.code().code() {
        "25006" if said.contains("recovery") => {
            "the server is a replica, which takes no writes; connect to the primary"
        }
        "25006" => {
            "the server takes no writes: a setting makes transactions read-only (default_transaction_read_only, of the \
             server, the database or the role)"
        }
        "28P01" => "check the user and the password of the connection string",
        "28000" => {
            "check the user of the connection string, and what the server's pg_hba.conf says of it"
        }
        "3D000" => "create it, or correct the name of the database in the connection string",
        _ if said.contains("pooling") || said.contains("prepared statement") => POOLER,
        _ => return Meaning::Unavailable(said),
    };
    Meaning::Unavailable(format!("{said}; {advice}"))
}

/// Translates a lack of resources, or a conflict with another transaction.
fn meaning_of_resource(error: &DbError, said: String) -> Meaning {
    let advice = match error.code().code() {
        "53100" if said.contains("pgsql_tmp") => "the server has no room for temporary files",
        "53100" => "the server's disk is full",
        "53200" => "the server is out of memory",
        "53300" => {
            "raise the limit (max_connections, or that of the role or the database), or let stores open fewer connections \
             (PostgresOptions::with_readers, with_transactions)"
        }
        "53400" => "a limit of the server is reached, for example temp_file_limit",
        "55P03" => "another transaction held a lock for too long; retry",
        "57014" => "it took longer than the statement timeout, or was cancelled",
        "57P01" | "57P02" => {
            "the server or an administrator has ended the connection; it is replaced automatically"
        }
        "57P03" => "wait until it takes connections again",
        "58030" | "58P01" => "the server cannot read or write its files; look into its log",
        _ => return Meaning::Unavailable(said),
    };
    Meaning::Unavailable(format!("{said}; {advice}"))
}

/// Translates a name that the server does not find, or whose use it forbids.
fn meaning_of_name(error: &DbError, said: String) -> Meaning {
    match error.code().code() {
        "42501" if said.contains("for database") => Meaning::Invalid(format!(
            "{said}: the schema is not there yet; let a role that may create it connect once, or create it for this role"
        )),
        "42501" => Meaning::Invalid(format!(
            "{said}; grant the role what roles.sql of this store lists"
        )),
        // The settings of a connection and its prepared statements are made once, so their loss points to a pooler.
        "26000" | "42P05" => Meaning::Unavailable(format!("{said}: {POOLER}")),
        "42704" if said.contains("eventsourcing.") => {
            Meaning::Unavailable(format!("{said}: {POOLER}"))
        }
        "42P06" | "42P07" | "42710" | "42723" => Meaning::Invalid(format!(
            "something else has taken a name that this store needs: {said}; choose another schema \
             (PostgresOptions::with_schema)"
        )),
        "3F000" | "42P01" | "42703" | "42883" | "42704" | "42846" | "42804" => {
            Meaning::Unavailable(format!(
                "{said}: the tables of this store are not there as it needs them; the schema was dropped or renamed, or is \
             being restored, or a program changed it, or {POOLER}"
            ))
        }
        _ => Meaning::Unavailable(said),
    }
}

/// Translates a violated constraint.
fn meaning_of_constraint(error: &DbError, said: String) -> Meaning {
    match (error.code().code(), error.constraint()) {
        ("23505", Some("events_log")) => Meaning::Corrupt(format!(
            "{said}: the sequence events_position is behind the events; let the owner of the schema run SELECT \
             setval('events_position', (SELECT max(position) FROM events)) in it"
        )),
        ("23505" | "23P01", _) => Meaning::Unavailable(format!(
            "{said}; other transactions were first each time; retry"
        )),
        _ => Meaning::Invalid(format!(
            "a constraint that is not this store's refuses what is written: {said}"
        )),
    }
}

fn class_of(error: &DbError) -> &str {
    &error.code().code()[..2]
}
