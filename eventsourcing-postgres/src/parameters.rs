//! The parameters of libpq that a connection string may have, and the advice for the others. No parameter is ignored.

use eventsourcing_core::store::StoreError;

use crate::connection_string::invalid;

/// Parameters of libpq that are honoured.
pub(crate) const HONOURED: [&str; 29] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Parameters of libpq that are refused, each with advice, except with a value that asks for the store's behaviour
/// anyway.
pub(crate) const REFUSED: [(&str, &str); 28] = [
    ("gssdelegation", "Kerberos is not supported; leave it out"),
    ("gssencmode", "Kerberos is not supported; leave it out"),
    ("gsslib", "Kerberos is not supported; leave it out"),
    ("krbsrvname", "Kerberos is not supported; leave it out"),
    (
        "max_protocol_version",
        "version 3.0 is spoken; leave it out",
    ),
    (
        "min_protocol_version",
        "version 3.0 is spoken; leave it out",
    ),
    ("oauth_ca_file", "OAuth is not supported; leave it out"),
    ("oauth_client_id", "OAuth is not supported; leave it out"),
    (
        "oauth_client_secret",
        "OAuth is not supported; leave it out",
    ),
    ("oauth_issuer", "OAuth is not supported; leave it out"),
    ("oauth_scope", "OAuth is not supported; leave it out"),
    (
        "passfile",
        "no password file is read; give the password in the connection string",
    ),
    ("replication", "a store does not replicate; leave it out"),
    (
        "require_auth",
        "use sslmode=verify-full, or channel_binding=require, to make sure who asks for the password",
    ),
    (
        "requirepeer",
        "the owner of a socket is not asked for; connect by TCP with sslmode=verify-full",
    ),
    ("requiressl", "write sslmode=require"),
    ("scram_client_key", "give the password"),
    ("scram_server_key", "give the password"),
    (
        "service",
        "no service file is read; write its parameters into the connection string",
    ),
    (
        "servicefile",
        "no service file is read; write its parameters into the connection string",
    ),
    ("sslcompression", "TLS is not compressed; leave it out"),
    (
        "sslcrl",
        "revocation lists are not read; replace sslrootcert instead",
    ),
    (
        "sslcrldir",
        "revocation lists are not read; replace sslrootcert instead",
    ),
    (
        "sslkeylogfile",
        "keys of sessions are not written down; leave it out",
    ),
    (
        "sslpassword",
        "encrypted keys are not read; give sslkey a key that is not encrypted and that others cannot read",
    ),
    ("authtype", "libpq has given it up; leave it out"),
    ("tty", "libpq has given it up; leave it out"),
    (
        "ssl_renegotiation",
        "there is no renegotiation; leave it out",
    ),
];

/// Returns `true` if the value asks for the store's behaviour anyway.
pub(crate) fn is_default(key: &str, value: &str) -> bool {
    match (key, value) {
        ("sslcertmode", "") => true,
        ("client_encoding", encoding) => ["utf8", "utf-8", "unicode", "auto"].contains(&encoding.to_lowercase().as_str()),
        ("gssencmode", "disable" | "prefer")
        | ("max_protocol_version", "3.0" | "latest" | "")
        | ("min_protocol_version", "3.0" | "")
        | ("replication", "false" | "off" | "no" | "0")
        | ("requiressl" | "sslcompression" | "gssdelegation", "0")
        | ("sslcertmode", "allow")
        | ("sslnegotiation", "postgres")
        | ("sslsni", "1")
        | ("ssl_min_protocol_version", "" | "TLSv1" | "TLSv1.1" | "TLSv1.2")
        | ("ssl_max_protocol_version", "" | "TLSv1.3")
        // A store writes, so it selects the server that takes writes.
        | ("target_session_attrs", "any" | "read-write" | "primary") => true,
        _ => false,
    }
}

/// Returns the error for a refused parameter. It names the parameter, unless that name may be a part of a password: see
/// `connection_string.rs`.
pub(crate) fn refusal(key: &str, is_behind_password: bool) -> StoreError {
    if let Some((_, advice)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
        return invalid(format!(
            "the parameter {key} of the connection string is not supported: {advice}"
        ));
    }
    match key {
        "target_session_attrs" => invalid(
            "a store writes, so target_session_attrs can only be read-write, primary or any",
        ),
        "sslnegotiation" => invalid("sslnegotiation can only be postgres"),
        "ssl_max_protocol_version" => {
            invalid("TLS below 1.2 is not spoken; ssl_max_protocol_version is TLSv1.2 or TLSv1.3")
        }
        "client_encoding" => invalid("a store speaks UTF-8, so client_encoding can only be UTF8"),
        key if HONOURED.contains(&key) => invalid(format!(
            "the connection string has an invalid value for the parameter {key}"
        )),
        _ if is_behind_password => invalid(
            "the connection string has an unknown parameter behind the password; put a password with spaces into single \
             quotes",
        ),
        key => invalid(format!(
            "the connection string has an unknown parameter {key:?}"
        )),
    }
}
