//! Writes to the program's two outputs: standard output for answers, standard error for everything else.
//!
//! Writing never panics, since either output may be closed, or a file on a full disk. An answer that cannot be written
//! is reported to the caller; a message that cannot be written is lost, and the exit code says the rest. Passwords in
//! addresses are removed from every line on standard error.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The log filter that is used unless `RUST_LOG` is set.
const FILTER_DEFAULT: &str = "warn";

/// The text before a password among the parameters of a URL, or in libpq's key-value format.
const PASSWORD_WORD: &str = "password=";

/// Writes an answer to standard output. An empty answer is not written, so it does not wait for another thread that is
/// blocked in a write.
pub(super) fn answer(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes one line to standard error, whatever `message` contains.
pub(super) fn say(kind: &str, message: &str) {
    line(&format!("{kind}: {message}"));
}

/// Writes one line to standard error without a kind in front.
pub(super) fn line(message: &str) {
    let line: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // If standard error is closed too, the exit code is all that is left to say.
    let _ = writeln!(io::stderr().lock(), "{}", without_credentials(&line));
}

/// Logs to standard error: warnings and errors, or the events that `RUST_LOG` selects; in colour on a terminal only.
pub(super) fn log_to_stderr() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = if wanted.trim().is_empty() {
        FILTER_DEFAULT
    } else {
        &wanted
    };
    let (filter, error) = match EnvFilter::try_new(filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
    };
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(wants_colour());
    // Without this, the subscriber reports a line that it cannot write by a macro that panics when standard error is
    // closed.
    format.with_writer(Log).log_internal_errors(false).init();
    if let Some(error) = error {
        say(
            "warning",
            &format!("RUST_LOG is not a valid filter; logging warnings and errors: {error}"),
        );
    }
}

/// Returns `true` if standard error is a terminal that shows colours, and the user has not turned them off
/// (<https://no-color.org>).
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Makes writers of whole lines of the log.
struct Log;

/// One line of the log.
struct LogLine;

impl<'a> MakeWriter<'a> for Log {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine
    }
}

impl Write for LogLine {
    /// Reports success also when the line cannot be written: the program goes on without its log.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let _ = io::stderr()
            .lock()
            .write_all(without_credentials(&text).as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes user and password from addresses such as `postgres://user:password@host`, also from mistyped ones:
/// everything between the scheme and the last `@` of the line is removed, since a password that was not encoded may
/// contain any character. The value of `password=` is removed as well.
pub(super) fn without_credentials(text: &str) -> String {
    text.split_inclusive('\n')
        .map(without_credentials_in_line)
        .collect()
}

fn without_credentials_in_line(line: &str) -> String {
    let scheme = line.find("://").map(|at| at + "://".len());
    let line = match scheme.and_then(|begin| line[begin..].rfind('@').map(|at| (begin, begin + at)))
    {
        Some((begin, end)) => format!("{}…{}", &line[..begin], &line[end..]),
        None => line.to_owned(),
    };
    let Some((before, rest)) = line.split_once(PASSWORD_WORD) else {
        return line;
    };
    let end = rest.find(['&', '\n']).unwrap_or(rest.trim_end().len());
    format!("{before}{PASSWORD_WORD}…{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_however_they_were_typed() {
        for (text, shown) in [
            (
                "postgres://bank:p@ss@host/b is away",
                "postgres://…@host/b is away",
            ),
            ("'postgres://bank:p ss/?#@host/b'", "'postgres://…@host/b'"),
            (
                "a\npostgress://me:secret@host\nb@c",
                "a\npostgress://…@host\nb@c",
            ),
            (
                "postgres://me@host/b?password=s3 cr3t&x=y",
                "postgres://…@host/b?password=…&x=y",
            ),
            ("host=b password=s3cr3t\n", "host=b password=…\n"),
            ("nothing@to.hide", "nothing@to.hide"),
            ("http://localhost:8000/", "http://localhost:8000/"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
