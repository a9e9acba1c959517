//! Where the server is: a connection string taken apart, and what may be shown of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use eventsourcing_core::store::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Nothing,
    Issuer,
    IssuerAndHost,
}

/// A connection string, understood.
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) place: Place,
}

/// What humans call the place: hosts, database and schema, never the password.
#[derive(Clone)]
pub(crate) struct Place(Arc<str>);

impl Place {
    fn new(config: &Config, schema: &str) -> Self {
        let port = |index: usize| *config.get_ports().get(index).or(config.get_ports().first()).unwrap_or(&5432);
        let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(folder) => format!("{}:{}", folder.display(), port(index)),
        });
        let hosts: Vec<_> = hosts.collect();
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        Self(format!("database {database} at {}, schema {schema}", hosts.join(",")).into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// Understands what the driver understands, and beyond it `sslmode=verify-ca`, `sslmode=verify-full` and
    /// `sslrootcert`, which it does not know.
    pub(crate) fn parse(text: &str, schema: &str) -> Result<Self, StoreError> {
        let (rest, tls) = TlsWords::take(text)?;
        let mut config: Config = rest.parse().map_err(|error| unreadable(&error))?;
        if config.get_hosts().is_empty() {
            return Err(invalid("the connection string names no host"));
        }
        let root_certificate = tls.root_certificate.map(PathBuf::from);
        let verify = match tls.mode.as_deref() {
            Some("verify-full") => Verify::IssuerAndHost,
            Some("verify-ca") => Verify::Issuer,
            // As libpq does it: whoever gives a root certificate wants it used.
            _ if root_certificate.is_some() && config.get_ssl_mode() == SslMode::Require => Verify::Issuer,
            _ => Verify::Nothing,
        };
        if verify != Verify::Nothing {
            config.ssl_mode(SslMode::Require);
        }
        let place = Place::new(&config, schema);
        Ok(Self { config, verify, root_certificate, place })
    }
}

/// The words about TLS that the driver does not know.
#[derive(Default)]
struct TlsWords {
    mode: Option<String>,
    root_certificate: Option<String>,
}

impl TlsWords {
    /// The connection string without them, and they.
    fn take(text: &str) -> Result<(String, Self), StoreError> {
        let mut found = Self::default();
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let rest = match text.split_once('?') {
            Some((before, options)) if is_url => {
                let kept = options.split('&').filter(|word| !found.takes(word));
                let kept = kept.collect::<Vec<_>>().join("&");
                if kept.is_empty() { before.to_owned() } else { format!("{before}?{kept}") }
            }
            _ if is_url => text.to_owned(),
            _ => text.split_inclusive(' ').filter(|word| !found.takes(word.trim_end())).collect(),
        };
        if let Some(path) = &mut found.root_certificate {
            *path = if is_url { decoded(path)? } else { path.trim_matches('\'').to_owned() };
        }
        Ok((rest, found))
    }

    fn takes(&mut self, word: &str) -> bool {
        match word.split_once('=') {
            Some(("sslmode", mode @ ("verify-ca" | "verify-full"))) => self.mode = Some(mode.to_owned()),
            Some(("sslrootcert", path)) => self.root_certificate = Some(path.to_owned()),
            _ => return false,
        }
        true
    }
}

fn decoded(text: &str) -> Result<String, StoreError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| (digit.unwrap_or_default() as char).to_digit(16));
        let [Some(high), Some(low)] = digits else { return Err(invalid("sslrootcert has a stray % sign")) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| invalid("sslrootcert is not UTF-8"))
}

/// The driver may name what it stumbled over, and that may be a part of a password. So only its remarks about the value
/// of an option, which name the option, are passed on.
fn unreadable(error: &tokio_postgres::Error) -> StoreError {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match cause.strip_prefix("invalid value for option") {
        Some(option) => invalid(format!("the connection string has an invalid value for the option{option}")),
        None => invalid(
            "the connection string cannot be understood; write postgres://user:password@host:port/database, with \
             special characters of the password percent-encoded",
        ),
    }
}

fn invalid(reason: impl Into<String>) -> StoreError {
    StoreError::Invalid { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        Address::parse(text, "eventsourcing").expect("a connection string")
    }

    #[test]
    fn tls_words_are_understood() {
        let host = "postgres://ada:secret@db.example:5433/bank";
        for (options, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Verify::Issuer),
            ("?sslrootcert=/ca.pem&sslmode=verify-ca", SslMode::Require, Verify::Issuer),
            ("?application_name=x&sslmode=verify-full&sslrootcert=%2Fca.pem", SslMode::Require, Verify::IssuerAndHost),
        ] {
            let address = parsed(&format!("{host}{options}"));
            assert_eq!((address.config.get_ssl_mode(), address.verify), (mode, verify), "{options}");
            assert_eq!(address.root_certificate.is_some(), options.contains("sslrootcert"), "{options}");
            assert!(address.root_certificate.is_none_or(|path| path.to_str() == Some("/ca.pem")));
        }
        let words = parsed("host=db.example user=ada sslmode=verify-full sslrootcert='/ca.pem' dbname=bank");
        assert_eq!((words.verify, words.root_certificate), (Verify::IssuerAndHost, Some("/ca.pem".into())));
        assert_eq!(words.config.get_dbname(), Some("bank"));
    }

    #[test]
    fn password_is_never_shown() {
        let place = parsed("postgres://ada:s3cr3t@db.example:5433/bank").place.to_string();
        assert_eq!(place, "database bank at db.example:5433, schema eventsourcing");
        for text in ["postgres://ada:s3cr3t@db:port/bank", "host=db password=x s3cr3t=1", "s3cr3t", "postgres://s3cr3t"]
        {
            let error = Address::parse(text, "eventsourcing").err();
            let text = error.map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert!(!text.contains("s3cr3t"), "{text}");
        }
    }

    #[test]
    fn nonsense_is_invalid() {
        for text in ["", "nonsense", "postgres://", "mysql://host/db", "postgres://host/db?sslmode=perhaps"] {
            let error = Address::parse(text, "eventsourcing").err().expect(text);
            assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
        }
    }
}
