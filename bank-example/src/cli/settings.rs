//! Settings that may contain a secret: from an argument, a file or the environment.
//!
//! Every user of the machine can see arguments, the same user can see the environment, and a file is for those with the
//! permission to read it. Messages never show a value, not even an invalid one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use bank_example::web::{NotAnOrigin, Origin};
use clap::Args;

use super::failure::Failure;

/// The store that is used if none is named.
const STORE_DEFAULT: &str = "sqlite:bank.db";
const ORIGIN_VARIABLE: &str = "BANK_ORIGIN";
/// The largest size of a file with a setting, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The address of the store.
#[derive(Args)]
pub(crate) struct Place {
    /// The store: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/DATABASE`, or `memory:` for a bank that is gone
    /// afterwards; sqlite:bank.db unless given here, in a file or in BANK_STORE
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// A file with that URL in its only line
    #[arg(long, global = true, value_name = "FILE")]
    store_file: Option<PathBuf>,
}

impl Place {
    /// Returns the address of the store.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        Ok(self.named()?.unwrap_or_else(|| STORE_DEFAULT.to_owned()))
    }

    /// Returns the address of the store, if one was given.
    pub(crate) fn named(&self) -> Result<Option<String>, Failure> {
        let arguments = (self.store.as_deref(), self.store_file.as_deref());
        setting(
            arguments,
            ["--store", "--store-file"],
            ["BANK_STORE", "BANK_STORE_FILE"],
        )
    }
}

/// Returns the password of the served bank, if there is one.
pub(super) fn password(file: Option<&Path>) -> Result<Option<String>, Failure> {
    setting(
        (None, file),
        ["--password", "--password-file"],
        ["BANK_PASSWORD", "BANK_PASSWORD_FILE"],
    )
}

/// Returns the addresses under which browsers find the bank, from the argument or else from `BANK_ORIGIN`.
pub(super) fn origins(argument: &[String]) -> Result<Vec<Origin>, Failure> {
    let (name, origins) = match (argument, std::env::var_os(ORIGIN_VARIABLE)) {
        ([], None) => return Ok(Vec::new()),
        ([], Some(value)) => (ORIGIN_VARIABLE, in_variable(ORIGIN_VARIABLE, &value)?),
        (argument, _) => ("--origin", argument.join(",")),
    };
    let origins = origins
        .split(',')
        .map(str::parse)
        .collect::<Result<_, NotAnOrigin>>();
    origins.map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// Returns a setting. An argument takes precedence over the environment; of each, only the value or the file may be
/// given.
fn setting(
    (value, file): (Option<&str>, Option<&Path>),
    [argument, file_argument]: [&str; 2],
    [variable, file_variable]: [&str; 2],
) -> Result<Option<String>, Failure> {
    match (value, file) {
        (Some(_), Some(_)) => return Err(given_twice(argument, file_argument)),
        (Some(value), None) => return Ok(Some(value.to_owned())),
        (None, Some(file)) => return in_file(file_argument, file).map(Some),
        (None, None) => {}
    }
    match (std::env::var_os(variable), std::env::var_os(file_variable)) {
        (Some(_), Some(_)) => Err(given_twice(variable, file_variable)),
        (Some(value), None) => in_variable(variable, &value).map(Some),
        (None, Some(file)) => in_file(file_variable, Path::new(&file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn given_twice(one: &str, other: &str) -> Failure {
    Failure::Usage(format!(
        "{one} and {other} are both given; give one of them"
    ))
}

/// Reads a setting from a variable. An empty variable is more likely a mistake of a script than intended, and "no
/// password" would be a dangerous reading of it.
fn in_variable(name: &str, value: &OsStr) -> Result<String, Failure> {
    match value.to_str() {
        Some("") => Err(Failure::Usage(format!(
            "{name} is empty; give it a value, or unset it"
        ))),
        Some(value) => Ok(value.to_owned()),
        None => Err(Failure::Usage(format!("{name} is not UTF-8"))),
    }
}

fn in_file(name: &str, path: &Path) -> Result<String, Failure> {
    let wrong =
        |why: String| Failure::Usage(format!("the file of {name}, {}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if about.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(wrong("it is empty".to_owned())),
        line if line.contains(['\n', '\r']) => Err(wrong("it has more than one line".to_owned())),
        line => Ok(line.to_owned()),
    }
}
