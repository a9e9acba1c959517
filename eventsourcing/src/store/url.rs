//! [`StoreUrl`]: parses the address of a store, and shows it without secrets.
//!
//! An address that is probably mistyped is refused. Otherwise it would be used as the name of a new file, or a driver would read
//! a part of a password as a host or database, and show it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The address of a store: `memory:`, `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
///
/// Parsing refuses addresses that are probably mistyped: `sqlite:` with a URI, parameters, a folder, a `~` that no shell has
/// replaced, or one of the files that SQLite keeps beside the store; `postgres:` with an `@`, `/`, `?` or `#` in a password that
/// is not percent-encoded. Only the text is checked, not that the store exists.
///
/// `Display` leaves out user, password and parameters, and `Debug` shows no more.
///
/// ```
/// use eventsourcing::store::StoreUrl;
///
/// let url: StoreUrl = "postgres://bank:secret@localhost/bank?sslmode=require".parse()?;
/// assert_eq!(url.to_string(), "postgres://localhost/bank");
/// # Ok::<_, eventsourcing::store::InvalidStoreUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Address);

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    Memory,
    Sqlite(String),
    /// The whole URL, with secrets.
    Postgres(String),
}

/// The error of a mistyped address. The text does not show the address, because a mistyped one may hold a password anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store's address {reason}; use sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or memory:"
)]
pub struct InvalidStoreUrl {
    reason: String,
}

impl StoreUrl {
    /// Returns the file of a SQLite store, and `None` for stores of other kinds.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        match &self.0 {
            Address::Sqlite(file) => Some(Path::new(file)),
            Address::Memory | Address::Postgres(_) => None,
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(url: &str) -> Result<Self, InvalidStoreUrl> {
        Address::parse(url)
            .map(Self)
            .map_err(|reason| InvalidStoreUrl { reason })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Memory => f.write_str("memory:"),
            Address::Sqlite(file) => write!(f, "sqlite:{file}"),
            Address::Postgres(url) => {
                let address = url.split_once("://").map_or("", |(_, address)| address);
                let address = address.split(['?', '#']).next().unwrap_or_default();
                write!(
                    f,
                    "postgres://{}",
                    address.rsplit('@').next().unwrap_or_default()
                )
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl Address {
    fn parse(url: &str) -> Result<Self, String> {
        if url != url.trim() || url.contains(char::is_control) {
            return Err(
                "begins or ends with a space, or has a character that cannot be seen".to_owned(),
            );
        }
        match url.split_once(':') {
            Some(("sqlite", path)) => file(path).map(|path| Self::Sqlite(path.to_owned())),
            Some(("postgres" | "postgresql", rest)) => {
                server(rest).map(|()| Self::Postgres(url.to_owned()))
            }
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("memory", _)) => Err("has something after memory:".to_owned()),
            Some((scheme, _)) if is_scheme(scheme) => Err(format!(
                "begins with {scheme}:, which is not a kind of store"
            )),
            _ => Err("names no kind of store".to_owned()),
        }
    }
}

/// Returns `true` for a scheme that can be shown: such a word cannot be a piece of a password.
fn is_scheme(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn file(path: &str) -> Result<&str, String> {
    let reason = match path {
        "" => "names no file",
        _ if path != path.trim() => "has a space before the name of the file",
        ":memory:" => "names no file; a store in memory is memory:",
        _ if path.contains("://") => "is of two kinds at once",
        _ if path.starts_with("file:") => "has a URI where the path of a file belongs",
        _ if path.starts_with("//") => {
            "has // before the path of the file; write sqlite:bank.db for a file in this folder, sqlite:/bank.db for one in /"
        }
        _ if path.contains('?') => "has parameters; a file takes none",
        _ if path.ends_with(['/', '\\']) || [".", ".."].contains(&path) => {
            "names a folder; name a file in it"
        }
        _ if path.starts_with("~/") => {
            "has a ~ that the shell has left as it is; write the whole path"
        }
        _ if ["-wal", "-shm", "-journal"]
            .iter()
            .any(|end| path.ends_with(end)) =>
        {
            "names a file that SQLite keeps beside the one with the events"
        }
        _ => return Ok(path),
    };
    Err(reason.to_owned())
}

/// Looks for characters that drivers would misread: after a stray `@`, `/` or `?` of a password they read hosts and databases,
/// and show them.
fn server(rest: &str) -> Result<(), String> {
    let encode = "in a password write %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %";
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("has no // after postgres:".to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match rest.matches('@').count() {
        0 => {}
        1 if authority.contains('@') => {}
        _ => {
            return Err(format!(
                "has an @ that does not separate a password from a host; {encode}"
            ));
        }
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
        for path in [
            "bank.db",
            "/bank.db",
            "./a b/bank.db",
            "data/bänk.db",
            "C:\\bank.db",
            "b@nk.db",
        ] {
            let url: StoreUrl = format!("sqlite:{path}").parse().expect(path);
            assert_eq!(url.sqlite_file(), Some(Path::new(path)));
        }
        for url in [
            "postgres://host/db",
            "postgresql://me@host/db",
            "postgres://me:p%40ss@a:1,b:2/db?sslmode=require",
            "postgres:///db?host=/tmp",
            "postgres://%2Ftmp/db",
        ] {
            let parsed: StoreUrl = url.parse().expect(url);
            assert!(
                *parsed.address() == Address::Postgres(url.to_owned())
                    && parsed.sqlite_file().is_none(),
                "{url}"
            );
        }
        assert!(*"memory:".parse::<StoreUrl>().expect("a store").address() == Address::Memory);
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, shown) in [
            ("sqlite:a b/b@nk.db", "sqlite:a b/b@nk.db"),
            ("memory:", "memory:"),
            (
                "postgres://me:p%40ss@a:1,b:2/db?sslmode=require",
                "postgres://a:1,b:2/db",
            ),
            ("postgresql://me@host/db", "postgres://host/db"),
            (
                "postgres://host/db?user=me&password=s3cr3t",
                "postgres://host/db",
            ),
            ("postgres:///db?host=/tmp&password=s3cr3t", "postgres:///db"),
            ("postgres://%2Ftmp/db", "postgres://%2Ftmp/db"),
        ] {
            let parsed: StoreUrl = url.parse().expect(url);
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(format!("{parsed:?}"), format!("StoreUrl({shown})"));
        }
    }

    #[test]
    fn addresses_that_cannot_be_meant_are_refused_and_not_shown() {
        let of_files = [
            "//x.db",
            "",
            "x.db?mode=ro",
            "file:x.db",
            ":memory:",
            "data/",
            ".",
            "x.db-wal",
            "~/x.db",
            " x.db",
        ];
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
            let error = url.parse::<StoreUrl>().expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(
                text.contains("sqlite:PATH") && !text.contains("s3cr3t"),
                "{url}: {text}"
            );
        }
    }
}
