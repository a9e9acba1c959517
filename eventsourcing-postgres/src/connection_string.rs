//! Splits a connection string into parameters, as libpq does: a URL, or words `key=value`.
//!
//! A password with an unescaped special character splits the string in the wrong place. So no error shows anything that
//! could be a part of a password, and a string that libpq would accept by mistake is refused.

use eventsourcing_core::store::StoreError;

/// The names and values of parameters, in the order of the string.
type Parameters = Vec<(String, String)>;

/// A connection string, split into parameters.
pub(crate) struct ConnectionString {
    pub(crate) parameters: Parameters,
    pub(crate) is_url: bool,
}

/// Splits `text` into parameters.
///
/// # Errors
/// [`StoreError::Invalid`]: the string cannot be understood, or is ambiguous.
pub(crate) fn parse(text: &str) -> Result<ConnectionString, StoreError> {
    let text = text.trim();
    let url = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let parameters = match url {
        Some(rest) => parse_url(rest)?,
        None if text
            .split_once("://")
            .is_some_and(|(scheme, _)| !scheme.contains(['=', ' '])) =>
        {
            return Err(misunderstood());
        }
        None => parse_words(text)?,
    };
    Ok(ConnectionString {
        parameters,
        is_url: url.is_some(),
    })
}

pub(crate) fn invalid(reason: impl Into<String>) -> StoreError {
    StoreError::Invalid {
        reason: reason.into(),
    }
}

fn misunderstood() -> StoreError {
    invalid(
        "the connection string cannot be understood; write postgres://user:password@host:port/database, with special \
         characters of the password percent-encoded: %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %25 for %",
    )
}

fn parse_url(rest: &str) -> Result<Parameters, StoreError> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (path, query) = tail
        .split_once('?')
        .map_or((tail, None), |(path, query)| (path, Some(query)));
    // An @ after the authority most likely belongs to a password with an unescaped / or ? in it.
    if tail.contains('@') {
        return Err(misunderstood());
    }
    let mut parameters = Parameters::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains('@') => return Err(misunderstood()),
        Some((user, hosts)) => {
            add_user(&mut parameters, user)?;
            hosts
        }
        None => authority,
    };
    add_hosts(&mut parameters, hosts)?;
    match path.strip_prefix('/').unwrap_or_default() {
        "" => {}
        database if database.contains('/') => return Err(misunderstood()),
        database => parameters.push(("dbname".to_owned(), decoded(database)?)),
    }
    for word in query
        .unwrap_or_default()
        .split('&')
        .filter(|word| !word.is_empty())
    {
        let (key, value) = word.split_once('=').ok_or_else(misunderstood)?;
        parameters.push((decoded(key)?, decoded(value)?));
    }
    Ok(parameters)
}

fn add_user(parameters: &mut Parameters, text: &str) -> Result<(), StoreError> {
    let (user, password) = text
        .split_once(':')
        .map_or((text, None), |(user, password)| (user, Some(password)));
    if !user.is_empty() {
        parameters.push(("user".to_owned(), decoded(user)?));
    }
    if let Some(password) = password {
        parameters.push(("password".to_owned(), decoded(password)?));
    }
    Ok(())
}

/// Adds the hosts and ports of `host:port`; several are separated by commas, and IPv6 addresses are in brackets.
fn add_hosts(parameters: &mut Parameters, text: &str) -> Result<(), StoreError> {
    if text.is_empty() {
        return Ok(());
    }
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for one in text.split(',') {
        let (host, rest) = match one.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(misunderstood)?,
            None => one.split_at(one.find(':').unwrap_or(one.len())),
        };
        let port = match rest {
            "" => "",
            rest => rest
                .strip_prefix(':')
                .filter(|port| is_port(port))
                .ok_or_else(misunderstood)?,
        };
        hosts.push(decoded(host)?);
        ports.push(port);
    }
    if hosts.iter().any(|host| host.contains(',')) {
        return Err(misunderstood());
    }
    parameters.push(("host".to_owned(), hosts.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        parameters.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn decoded(text: &str) -> Result<String, StoreError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let high = digit().ok_or_else(misunderstood)?;
        let low = digit().ok_or_else(misunderstood)?;
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(misunderstood()),
    }
}

/// Parses words `key=value`, separated by spaces, with optional spaces around `=`. A value may be quoted, and a
/// backslash escapes.
fn parse_words(text: &str) -> Result<Parameters, StoreError> {
    let mut parameters = Parameters::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| torn(&parameters))?;
        let key = key.trim_end();
        if key.is_empty()
            || !key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(torn(&parameters));
        }
        let (value, after) = take_value(after.trim_start()).ok_or_else(|| torn(&parameters))?;
        parameters.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(parameters)
}

/// Returns the error for a malformed word. After a password it may be the rest of that password, so it is not shown.
fn torn(before: &Parameters) -> StoreError {
    match before.iter().any(|(key, _)| key.contains("password")) {
        true => invalid(
            "the connection string cannot be understood behind the password; put a value with spaces into single quotes, \
             with a backslash before each single quote and backslash in it",
        ),
        false => misunderstood(),
    }
}

/// Returns the value at the beginning of `text` and the rest after it, or `None` if a quote is not closed.
fn take_value(text: &str) -> Option<(String, &str)> {
    let is_quoted = text.starts_with('\'');
    let start = usize::from(is_quoted);
    let mut value = String::new();
    let mut characters = text[start..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if is_quoted => return Some((value, &text[start + at + 1..])),
            space if space.is_whitespace() && !is_quoted => return Some((value, &text[at..])),
            other => value.push(other),
        }
    }
    (!is_quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .parameters
    }

    fn pairs(parameters: &[(&str, &str)]) -> Parameters {
        parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(
            parsed(
                "postgres://ada:p%40ss%2F@h1:5433,h2,[::1]:1/bank?sslmode=require&options=-c%20x%3Dy"
            ),
            pairs(&[
                ("user", "ada"),
                ("password", "p@ss/"),
                ("host", "h1,h2,::1"),
                ("port", "5433,,1"),
                ("dbname", "bank"),
                ("sslmode", "require"),
                ("options", "-c x=y"),
            ])
        );
        assert_eq!(
            parsed("postgresql://%2Frun%2Fpostgresql/b"),
            pairs(&[("host", "/run/postgresql"), ("dbname", "b")])
        );
        assert_eq!(
            parsed("postgres:///b?host=h"),
            pairs(&[("dbname", "b"), ("host", "h")])
        );
        assert_eq!(
            parsed("postgres://u:a:b#c@h"),
            pairs(&[("user", "u"), ("password", "a:b#c"), ("host", "h")])
        );
    }

    #[test]
    fn words_are_taken_apart() {
        assert_eq!(
            parsed(r"host = h  password='it\'s \\ me' user=ada\ b dbname=''"),
            pairs(&[
                ("host", "h"),
                ("password", r"it's \ me"),
                ("user", "ada b"),
                ("dbname", "")
            ])
        );
    }

    #[test]
    fn what_is_torn_apart_by_a_password_is_refused_and_not_shown() {
        for text in [
            "postgres://bank:p@s3cr3t@host/b",
            "postgres://bank:p/s3cr3t@host/b",
            "postgres://bank:1/s3cr3t@host/b",
            "postgres://bank:p?s3cr3t@host/b",
            "postgres://bank:5432?s3cr3t=x@host/b",
            "postgres://bank:s3cr3t%zz@host/b",
            "postgres://bank:s3cr3t%00@host/b",
            "postgres://bank:s3cr3t%@host/b",
            "postgres://bank:x@host:s3cr3t/b",
            "postgres://bank:s3cr3t",
            "postgres://bank:p,q:s3cr3t@a@b",
            "postgres://host/b?s3cr3t",
            "https://bank:s3cr3t@host/b",
            "host=h password=p s3cr3t",
            "host=h password=p 'q s3cr3t=1",
            "host=h password='p s3cr3t",
            "host=h password='p' s3cr3t",
        ] {
            let Err(error) = parse(text) else {
                panic!("{text} is refused")
            };
            assert!(
                !format!("{error} {error:?}").contains("s3cr3t"),
                "{text}: {error}"
            );
        }
    }
}
