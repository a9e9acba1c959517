//! The address of a server: the meaning of the parameters of a connection string, and the part of them that may be
//! shown.
//!
//! Every parameter of libpq is either honoured or refused, and unknown parameters are refused too.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslMode};

use crate::connection_string::{self, ConnectionString, invalid};
use crate::parameters::{is_default, refusal};

/// The extent to which the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Nothing,
    Issuer,
    IssuerAndHost,
}

/// The TLS parameters of a connection string.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) verify: Verify,
    pub(crate) root_certificate: Option<PathBuf>,
    /// The paths of the client's certificate and key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) sends_host: bool,
    pub(crate) allows_1_2: bool,
    pub(crate) allows_1_3: bool,
}

/// A parsed connection string.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    pub(crate) endpoint: Endpoint,
}

/// The name of a database for people: hosts, database and schema, never the password.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(Arc<str>);

impl Endpoint {
    fn new(config: &Config, schema: &str) -> Self {
        let port = |index: usize| {
            *config
                .get_ports()
                .get(index)
                .or(config.get_ports().first())
                .unwrap_or(&5432)
        };
        let names = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        });
        let mut names: Vec<_> = names.collect();
        if names.is_empty() {
            names = config
                .get_hostaddrs()
                .iter()
                .map(ToString::to_string)
                .collect();
        }
        let hosts = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{name}:{}", port(index)));
        let hosts: Vec<_> = hosts.collect();
        let database = config
            .get_dbname()
            .or(config.get_user())
            .unwrap_or_default();
        Self(
            format!(
                "database {database} at {}, schema {schema}",
                hosts.join(",")
            )
            .into(),
        )
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// Parses URLs and `key=value` words as libpq does. A parameter that the text does not set keeps its value in
    /// `defaults`.
    pub(crate) fn parse(text: &str, schema: &str, defaults: Config) -> Result<Self, StoreError> {
        let ConnectionString {
            mut parameters,
            is_url,
        } = connection_string::parse(text)?;
        let mut reader = Reader {
            config: defaults,
            ..Reader::default()
        };
        // Of several values of one parameter the last one counts.
        while let Some((key, value)) = parameters.pop() {
            parameters.retain(|(other, _)| *other != key);
            let is_behind_password = !is_url
                && parameters
                    .iter()
                    .any(|(other, _)| other.contains("password"));
            reader.take(&key, &value, is_behind_password)?;
        }
        reader.finish(schema)
    }
}

/// Collects parameters, in any order.
#[derive(Default)]
struct Reader {
    config: Config,
    mode: Option<String>,
    fallback_name: Option<String>,
    root_certificate: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
    sends_no_certificate: bool,
    hides_host: bool,
    refuses_1_2: bool,
    refuses_1_3: bool,
}

impl Reader {
    fn take(&mut self, key: &str, value: &str, is_behind_password: bool) -> Result<(), StoreError> {
        let config = &mut self.config;
        match (key, value) {
            ("host" | "hostaddr" | "port" | "user" | "password" | "dbname", "") => {}
            ("host", _) => {
                for host in value.split(',') {
                    config.host(host);
                }
            }
            ("hostaddr", _) => {
                for address in value.split(',') {
                    config.hostaddr(number(key, address)?);
                }
            }
            ("port", _) => {
                for port in value.split(',') {
                    config.port(if port.is_empty() {
                        5432
                    } else {
                        number(key, port)?
                    });
                }
            }
            ("user", _) => {
                config.user(value);
            }
            ("password", _) => {
                config.password(value);
            }
            ("dbname", _) => {
                config.dbname(value);
            }
            ("options", _) => {
                config.options(value);
            }
            ("application_name", _) => {
                config.application_name(value);
            }
            ("fallback_application_name", _) => self.fallback_name = Some(value.to_owned()),
            ("load_balance_hosts", "disable") => {
                config.load_balance_hosts(LoadBalanceHosts::Disable);
            }
            ("load_balance_hosts", "random") => {
                config.load_balance_hosts(LoadBalanceHosts::Random);
            }
            ("channel_binding", "disable") => {
                config.channel_binding(ChannelBinding::Disable);
            }
            ("channel_binding", "prefer") => {
                config.channel_binding(ChannelBinding::Prefer);
            }
            ("channel_binding", "require") => {
                config.channel_binding(ChannelBinding::Require);
            }
            _ => return self.take_network(key, value, is_behind_password),
        }
        Ok(())
    }

    /// Takes times and counts. A value of 0 stands for the default.
    fn take_network(
        &mut self,
        key: &str,
        value: &str,
        is_behind_password: bool,
    ) -> Result<(), StoreError> {
        let config = &mut self.config;
        match key {
            "connect_timeout" => {
                let seconds: i64 = number(key, value)?;
                if let Ok(timeout @ 1..) = u64::try_from(seconds) {
                    // libpq also waits for at least two seconds.
                    config.connect_timeout(Duration::from_secs(timeout.max(2)));
                }
            }
            "keepalives" => {
                config.keepalives(number::<i64>(key, value)? != 0);
            }
            "keepalives_idle" => {
                if let seconds @ 1.. = number(key, value)? {
                    config.keepalives_idle(Duration::from_secs(seconds));
                }
            }
            "keepalives_interval" => {
                if let seconds @ 1.. = number(key, value)? {
                    config.keepalives_interval(Duration::from_secs(seconds));
                }
            }
            "keepalives_count" | "keepalives_retries" => {
                if let count @ 1.. = number(key, value)? {
                    config.keepalives_retries(count);
                }
            }
            "tcp_user_timeout" => {
                if let milliseconds @ 1.. = number(key, value)? {
                    config.tcp_user_timeout(Duration::from_millis(milliseconds));
                }
            }
            _ => return self.take_tls(key, value, is_behind_password),
        }
        Ok(())
    }

    fn take_tls(
        &mut self,
        key: &str,
        value: &str,
        is_behind_password: bool,
    ) -> Result<(), StoreError> {
        match (key, value) {
            ("sslmode", "disable" | "prefer" | "require" | "verify-ca" | "verify-full") => {
                self.mode = Some(value.to_owned());
            }
            ("sslmode", "allow") => {
                return Err(invalid(
                    "sslmode=allow is not supported; prefer asks for encryption first, and goes on without",
                ));
            }
            // JDBC's spelling, which libpq accepts too.
            ("ssl", "true") => self.mode = self.mode.take().or_else(|| Some("require".to_owned())),
            ("sslrootcert", "system") => {
                return Err(invalid(
                    "sslrootcert=system is not supported; give the path of the system's PEM file, often \
                     /etc/ssl/certs/ca-certificates.crt, with sslmode=verify-full",
                ));
            }
            ("sslrootcert" | "sslcert" | "sslkey", "") => {}
            ("sslrootcert", _) => self.root_certificate = Some(value.to_owned()),
            ("sslcert", _) => self.client_certificate = Some(value.to_owned()),
            ("sslkey", _) => self.client_key = Some(value.to_owned()),
            ("sslcertmode", "disable") => self.sends_no_certificate = true,
            ("sslsni", "0") => self.hides_host = true,
            ("ssl_min_protocol_version", "TLSv1.3") => self.refuses_1_2 = true,
            ("ssl_max_protocol_version", "TLSv1.2") => self.refuses_1_3 = true,
            _ if is_default(key, value) => {}
            _ => return Err(refusal(key, is_behind_password)),
        }
        Ok(())
    }

    fn finish(mut self, schema: &str) -> Result<Address, StoreError> {
        let config = &self.config;
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        if hosts == 0 {
            return Err(invalid("the connection string names no host"));
        }
        let fits = |count: usize| count <= 1 || count == hosts;
        let has_both = !config.get_hosts().is_empty() && !config.get_hostaddrs().is_empty();
        if !fits(config.get_ports().len())
            || has_both && config.get_hosts().len() != config.get_hostaddrs().len()
        {
            return Err(invalid(
                "the connection string needs one port for all hosts or one for each, and as many addresses",
            ));
        }
        if let (None, Some(name)) = (config.get_application_name(), &self.fallback_name) {
            self.config.application_name(name);
        }
        let tls = self.tls()?;
        let endpoint = Endpoint::new(&self.config, schema);
        Ok(Address {
            config: self.config,
            tls,
            endpoint,
        })
    }

    fn tls(&mut self) -> Result<Tls, StoreError> {
        let root_certificate = self.root_certificate.take().map(PathBuf::from);
        let mode = self.mode.as_deref().unwrap_or("prefer");
        let verify = match mode {
            "verify-full" => Verify::IssuerAndHost,
            "verify-ca" => Verify::Issuer,
            // As in libpq, `require` verifies against a root certificate if one is given.
            "require" if root_certificate.is_some() => Verify::Issuer,
            _ => Verify::Nothing,
        };
        self.config.ssl_mode(match mode {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        let client_certificate = match (self.client_certificate.take(), self.client_key.take()) {
            _ if self.sends_no_certificate => None,
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => {
                return Err(invalid(
                    "sslcert and sslkey, the paths of two PEM files, belong together",
                ));
            }
        };
        if self.refuses_1_2 && self.refuses_1_3 {
            return Err(invalid(
                "ssl_min_protocol_version is above ssl_max_protocol_version",
            ));
        }
        Ok(Tls {
            verify,
            root_certificate,
            client_certificate,
            sends_host: !self.hides_host,
            allows_1_2: !self.refuses_1_2,
            allows_1_3: !self.refuses_1_3,
        })
    }
}

fn number<T: FromStr>(key: &str, text: &str) -> Result<T, StoreError> {
    let invalid_value = |_| {
        invalid(format!(
            "the connection string has an invalid value for the parameter {key}"
        ))
    };
    text.trim().parse().map_err(invalid_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{HONOURED, REFUSED};

    fn parsed(text: &str) -> Address {
        Address::parse(text, "eventsourcing", Config::new())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        match Address::parse(text, "eventsourcing", Config::new()) {
            Ok(_) => panic!("{text} is refused"),
            Err(error @ StoreError::Invalid { .. }) => error.to_string(),
            Err(error) => panic!("{text}: {error:?}"),
        }
    }

    #[test]
    fn certificates_are_judged_as_in_libpq() {
        let host = "postgres://ada:secret@db.example:5433/bank";
        for (options, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?ssl=true", SslMode::Require, Verify::Nothing),
            (
                "?sslmode=prefer&sslrootcert=/ca.pem",
                SslMode::Prefer,
                Verify::Nothing,
            ),
            (
                "?sslmode=require&sslrootcert=/ca.pem",
                SslMode::Require,
                Verify::Issuer,
            ),
            (
                "?sslrootcert=/ca.pem&sslmode=verify-ca",
                SslMode::Require,
                Verify::Issuer,
            ),
            (
                "?application_name=x&sslmode=verify-full&sslrootcert=%2Fca.pem",
                SslMode::Require,
                Verify::IssuerAndHost,
            ),
        ] {
            let address = parsed(&format!("{host}{options}"));
            assert_eq!(
                (address.config.get_ssl_mode(), address.tls.verify),
                (mode, verify),
                "{options}"
            );
            assert_eq!(
                address.tls.root_certificate.is_some(),
                options.contains("sslrootcert"),
                "{options}"
            );
            assert!(
                address
                    .tls
                    .root_certificate
                    .is_none_or(|path| path.to_str() == Some("/ca.pem"))
            );
        }
        let words = parsed(
            "host=db.example user=ada sslmode=verify-full sslrootcert='/ca.pem' dbname=bank",
        );
        assert_eq!(
            (words.tls.verify, words.tls.root_certificate),
            (Verify::IssuerAndHost, Some("/ca.pem".into()))
        );
        assert_eq!(words.config.get_dbname(), Some("bank"));
    }

    fn sample(key: &str) -> &str {
        match key {
            "hostaddr" => "127.0.0.1",
            "channel_binding" => "prefer",
            "load_balance_hosts" => "random",
            "client_encoding" => "utf8",
            "ssl" => "true",
            "sslmode" => "require",
            "sslnegotiation" => "postgres",
            "ssl_min_protocol_version" | "ssl_max_protocol_version" => "TLSv1.3",
            "target_session_attrs" => "read-write",
            _ => "1",
        }
    }

    #[test]
    fn every_parameter_is_honoured_or_refused() {
        let text = "postgres://h1,h2:2/b?connect_timeout=7&keepalives_idle=8&keepalives_interval=9&keepalives_count=3\
                    &tcp_user_timeout=1500&target_session_attrs=primary&load_balance_hosts=random&options=-cgeqo%3Doff\
                    &fallback_application_name=f&channel_binding=disable&gssencmode=prefer&client_encoding=UTF8";
        let config = parsed(text).config;
        assert_eq!(config.get_ports(), [5432, 2]);
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(8));
        assert_eq!(config.get_keepalives_retries(), Some(3));
        assert_eq!(
            config.get_tcp_user_timeout(),
            Some(&Duration::from_millis(1500)),
            "libpq counts milliseconds"
        );
        assert_eq!(config.get_application_name(), Some("f"));
        assert_eq!(config.get_options(), Some("-cgeqo=off"));
        for key in HONOURED {
            // `sslcert` and `sslkey` are only valid together.
            let value = if key.starts_with("sslcert") || key == "sslkey" {
                ""
            } else {
                sample(key)
            };
            parsed(&format!("postgres://h/b?{key}={value}"));
        }
        assert!(refused("postgres://u:p@h/b?sslmod=require").contains("\"sslmod\""));
        for (key, advice) in REFUSED {
            let error = refused(&format!("postgres://h/b?{key}=something"));
            assert!(error.contains(key) && error.contains(advice), "{error}");
        }
        for text in [
            "target_session_attrs=standby",
            "sslmode=allow",
            "sslrootcert=system",
            "sslcert=/c.pem",
            "mode=ro",
        ] {
            let error = refused(&format!("postgres://h/b?{text}"));
            assert!(
                error.contains(text.split('=').next().expect("a key")),
                "{error}"
            );
        }
    }

    #[test]
    fn last_value_of_a_parameter_counts() {
        let address = parsed("postgres://h/b?sslmode=disable&host=other&sslmode=require");
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(address.config.get_hosts(), [Host::Tcp("other".to_owned())]);
    }

    #[test]
    fn password_is_never_shown() {
        let address = parsed("postgres://ada:s3cr3t@db.example:5433/bank");
        assert_eq!(
            address.endpoint.to_string(),
            "database bank at db.example:5433, schema eventsourcing"
        );
        assert!(!format!("{address:?}").contains("s3cr3t"), "{address:?}");
        for text in [
            "postgres://ada:s3cr3t@db:port/bank",
            "host=db password=x s3cr3t=1",
            "host=db sslpassword=x password=y s3cr3t=1",
            "postgres://ada:x&s3cr3t=1@db/bank?y=1",
            "s3cr3t",
            "postgres://s3cr3t:x",
        ] {
            let error = Address::parse(text, "eventsourcing", Config::new()).expect_err(text);
            assert!(
                !format!("{error} {error:?}").contains("s3cr3t"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn nonsense_is_invalid() {
        for text in [
            "",
            "nonsense",
            "postgres://",
            "mysql://host/db",
            "postgres://host/db?sslmode=perhaps",
        ] {
            refused(text);
        }
        refused("postgres://h1,h2,h3/b?port=1,2");
        refused("postgres://h1,h2/b?hostaddr=127.0.0.1");
    }
}
