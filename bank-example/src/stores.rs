//! The bank's stores by their URL: swapping them is one line.

use std::fmt;
use std::sync::Arc;

use eventsourcing_core::Stores;
use eventsourcing_core::store::{EventStore, MemoryStore, StoreError};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_sqlite::{SqliteOptions, SqliteStore};

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be meant. It is not shown: a mistyped one may hold a password anywhere.
    #[error("the store's address {reason}; use sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or memory:")]
    Address { reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that `url` names: `sqlite:PATH`, `postgres://…` or `memory:`, and makes it if there is none. The read
/// models are in its database; those of a store in memory in a SQLite database in memory.
pub async fn open(url: &str) -> Result<Stores, OpenError> {
    match Address::parse(url)? {
        Address::Sqlite(path) => Ok(SqliteStore::open(path).await?.into()),
        Address::Postgres(url) => Ok(PostgresStore::connect(url).await?.into()),
        Address::Memory => in_memory(),
    }
}

/// Opens the store that `url` names, as [`open`] does, but never makes one. In memory there is nothing to be found, nor to be
/// left behind, so that is a new one.
pub async fn open_existing(url: &str) -> Result<Stores, OpenError> {
    match Address::parse(url)? {
        Address::Sqlite(path) => Ok(SqliteStore::open_existing(path).await?.into()),
        Address::Postgres(url) => Ok(PostgresStore::connect_existing(url).await?.into()),
        Address::Memory => in_memory(),
    }
}

/// Opens the SQLite store that `url` names, if it names one and there is one; `None` if it names a store of another kind.
pub async fn open_sqlite(url: &str) -> Result<Option<SqliteStore>, OpenError> {
    match Address::parse(url)? {
        Address::Sqlite(path) => Ok(Some(SqliteStore::open_existing(path).await?)),
        Address::Postgres(_) | Address::Memory => Ok(None),
    }
}

/// Opens the store that `url` names to be filled by an import. A crash of the machine may take the last moments of it, and
/// then it goes on from before them: not to wait for the disk at each event makes it many times as fast.
pub async fn open_to_fill(url: &str) -> Result<Arc<dyn EventStore>, OpenError> {
    use {eventsourcing_postgres::Durability as OnServer, eventsourcing_sqlite::Durability as InFile};
    match Address::parse(url)? {
        Address::Sqlite(path) => Ok(Arc::new(SqliteOptions::new().with_durability(InFile::Normal).open(path).await?)),
        Address::Postgres(url) => {
            Ok(Arc::new(PostgresOptions::new().with_durability(OnServer::Normal).connect(url).await?))
        }
        Address::Memory => Ok(in_memory()?.store()),
    }
}

/// Returns the address of a store that has been opened, as it can be shown: without user, password and parameters.
pub fn address_without_secrets(url: &str) -> Result<String, OpenError> {
    Ok(match Address::parse(url)? {
        Address::Sqlite(path) => format!("sqlite:{path}"),
        Address::Postgres(url) => {
            let address = url.split_once("://").map_or("", |(_, address)| address);
            let address = address.split(['?', '#']).next().unwrap_or_default();
            format!("postgres://{}", address.rsplit('@').next().unwrap_or_default())
        }
        Address::Memory => "memory:".to_owned(),
    })
}

fn in_memory() -> Result<Stores, OpenError> {
    Ok(Stores::shared(MemoryStore::new()).with_read_models(SqliteStore::in_memory()?))
}

/// An address that can be meant.
#[derive(PartialEq)]
enum Address<'a> {
    Sqlite(&'a str),
    Postgres(&'a str),
    Memory,
}

impl fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres"),
            Self::Memory => f.write_str("Memory"),
        }
    }
}

impl<'a> Address<'a> {
    /// Refuses whatever is more likely mistyped than meant, since it would be taken for the name of a new file.
    fn parse(url: &'a str) -> Result<Self, OpenError> {
        let wrong = |reason: String| OpenError::Address { reason };
        if url != url.trim() || url.contains(char::is_control) {
            return Err(wrong("begins or ends with a space, or has a character that cannot be seen".to_owned()));
        }
        match url.split_once(':') {
            Some(("sqlite", path)) => file(path).map(Self::Sqlite).map_err(wrong),
            Some(("postgres" | "postgresql", rest)) => server(rest).map(|()| Self::Postgres(url)).map_err(wrong),
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("memory", _)) => Err(wrong("has something after memory:".to_owned())),
            Some((scheme, _)) if is_scheme(scheme) => Err(wrong(format!("begins with {scheme}:, which is no store"))),
            _ => Err(wrong("names no kind of store".to_owned())),
        }
    }
}

/// Returns `true` for what can be shown: a word that is a scheme cannot be a piece of a password.
fn is_scheme(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn file(path: &str) -> Result<&str, String> {
    let reason = match path {
        "" => "names no file",
        _ if path != path.trim() => "has a space before the name of the file",
        ":memory:" => "names no file; a bank in memory is memory:",
        _ if path.contains("://") => "is of two kinds at once",
        _ if path.starts_with("file:") => "has a URI where the path of a file belongs",
        _ if path.starts_with("//") => {
            "has // before the path of the file; write sqlite:bank.db for a file in this folder, sqlite:/bank.db for one in /"
        }
        _ if path.contains('?') => "has parameters; a file takes none",
        _ if path.ends_with(['/', '\\']) || [".", ".."].contains(&path) => "names a folder; name a file in it",
        _ if path.starts_with("~/") => "has a ~ that the shell has left as it is; write the whole path",
        _ if ["-wal", "-shm", "-journal"].iter().any(|end| path.ends_with(end)) => {
            "names a file that SQLite keeps beside the one with the events"
        }
        _ => return Ok(path),
    };
    Err(reason.to_owned())
}

/// Looks for what drivers would misread: behind a stray `@`, `/` or `?` of a password they find hosts and databases, and
/// show them.
fn server(rest: &str) -> Result<(), String> {
    let encode = "in a password write %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %";
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("has no // after postgres:".to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match rest.matches('@').count() {
        0 => {}
        1 if authority.contains('@') => {}
        _ => return Err(format!("has an @ that does not separate a password from a host; {encode}")),
    }
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    if hosts.is_empty() && !rest.contains("host=") {
        return Err("names no host".to_owned());
    }
    if authority.contains(char::is_whitespace) || rest.contains('#') {
        return Err(format!("has a space or a # in it; {encode}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_meant_are_understood() {
        for path in ["bank.db", "/bank.db", "./a b/bank.db", "data/bänk.db", "C:\\bank.db", "b@nk.db"] {
            assert_eq!(Address::parse(&format!("sqlite:{path}")).expect(path), Address::Sqlite(path));
        }
        for url in [
            "postgres://host/db",
            "postgresql://me@host/db",
            "postgres://me:p%40ss@a:1,b:2/db?sslmode=require",
            "postgres:///db?host=/tmp",
            "postgres://%2Ftmp/db",
        ] {
            assert_eq!(Address::parse(url).expect(url), Address::Postgres(url));
        }
        assert_eq!(Address::parse("memory:").expect("a store"), Address::Memory);
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, shown) in [
            ("sqlite:a b/b@nk.db", "sqlite:a b/b@nk.db"),
            ("memory:", "memory:"),
            ("postgres://me:p%40ss@a:1,b:2/db?sslmode=require", "postgres://a:1,b:2/db"),
            ("postgresql://me@host/db", "postgres://host/db"),
            ("postgres://host/db?user=me&password=s3cr3t", "postgres://host/db"),
            ("postgres:///db?host=/tmp&password=s3cr3t", "postgres:///db"),
            ("postgres://%2Ftmp/db", "postgres://%2Ftmp/db"),
        ] {
            assert_eq!(address_without_secrets(url).expect(url), shown);
        }
    }

    #[test]
    fn addresses_that_cannot_be_meant_are_refused_and_not_shown() {
        let of_files =
            ["//x.db", "", "x.db?mode=ro", "file:x.db", ":memory:", "data/", ".", "x.db-wal", "~/x.db", " x.db"];
        let of_files = of_files.map(|path| format!("sqlite:{path}"));
        let others = [
            "",
            "bank.db",
            "s3cr3t",
            "SQLITE:x.db",
            "oracle:s3cr3t",
            "memory:x",
            "memory",
            "host=db password=s3cr3t",
            "host=db password=s3cr3t:x",
            "me:s3cr3t@host/db",
            "//me:s3cr3t@host/db",
            "postgres:bank",
            "postgres:/me:s3cr3t@host/db",
            "postgres://",
            "postgres://bank:p@s3cr3t@host/b",
            "postgres://bank:1/s3cr3t@host/b",
            "postgres://bank:1?s3cr3t@host/b",
            "postgres://bank:1#s3cr3t@host/b",
            "postgres://bank:1 s3cr3t@host/b",
            "postgres://bank:x@host/s3cr3t@b",
            "sqlite:postgres://me:s3cr3t@host/db",
            "postgress://me:s3cr3t@host/bank",
            "postgres://me:s3cr3t@host/bank\n",
        ];
        for url in of_files.iter().map(String::as_str).chain(others) {
            let error = Address::parse(url).expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(text.contains("sqlite:PATH") && !text.contains("s3cr3t"), "{url}: {text}");
        }
    }
}
