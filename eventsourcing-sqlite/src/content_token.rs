//! Content tokens: they show whether the database file and its write-ahead log belong together.
//!
//! A copy over the file keeps its inode, and SQLite accepts any write-ahead log that lies beside a file: it would mix
//! the pages of both. So the store keeps a list of random tokens in `eventsourcing_meta`. The last commit before a
//! checkpoint adds a token, and so does the first commit after it. The database file alone, read without its log, shows
//! the token of its last checkpoint. While file and log belong together, that token is in the list that both show
//! together, and it never moves back in the list. A file with other content, or of an earlier time, shows a token that
//! is not in the list.
//!
//! A bar in the list separates the tokens that the file has passed. Some of them are kept, so that other processes find
//! the token that they saw last. The newest passed token stays behind the bar: another process may have read a
//! checkpoint from the file's pages before the disk confirmed it, and a power cut takes those pages back.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result};
use uuid::Uuid;

const KEY: &str = "life";
/// The token in the list for a file that had no token yet.
const NONE: &str = "0-";
const BAR: &str = "|";
/// The most tokens after the bar. The list gets this long only while readers block every checkpoint.
const TOKENS_MAX: usize = 32;
/// The number of passed tokens that are kept.
const PASSED_MAX: usize = 16;

/// A growing number and a random part: the state that the database file shows without its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(String);

/// The tokens that the file and its log show together, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    list: Vec<Token>,
    /// The number of tokens before the bar, which the file has passed.
    passed: usize,
}

impl Token {
    fn none() -> Self {
        Self(NONE.to_owned())
    }

    fn after(number: u64) -> Self {
        Self(format!(
            "{}-{:016x}",
            number + 1,
            Uuid::new_v4().as_u64_pair().0
        ))
    }

    fn number(&self) -> u64 {
        self.0
            .split_once('-')
            .and_then(|(number, _)| number.parse().ok())
            .unwrap_or_default()
    }
}

impl Tokens {
    /// Returns `true` if a file that shows `token` belongs to this list. A file without a token belongs to a list that
    /// begins with "no token", and to a store that has no list yet.
    pub(crate) fn allow(&self, token: &Token) -> bool {
        self.index_of(token)
            .is_some_and(|index| index >= self.passed)
    }

    /// Returns `true` if the file may show `token` after it has shown `before`.
    pub(crate) fn allow_after(&self, token: &Token, before: &Token) -> bool {
        let Some(index) = self.index_of(token).filter(|index| *index >= self.passed) else {
            return false;
        };
        match self.index_of(before) {
            Some(before) => before <= index,
            // The token may have been dropped from the list after `PASSED_MAX` checkpoints.
            None => self.passed == PASSED_MAX && self.list[0].number() > before.number(),
        }
    }

    /// Returns `true` if the list is a continuation of one that ended in `token`.
    pub(crate) fn go_on_from(&self, token: &Token) -> bool {
        match self.index_of(token) {
            Some(_) => true,
            // The token may have been dropped after `PASSED_MAX` checkpoints. A list that has no token yet begins with
            // "no token".
            None => {
                *token == Token::none()
                    || (self.passed == PASSED_MAX && self.list[0].number() > token.number())
            }
        }
    }

    fn index_of(&self, token: &Token) -> Option<usize> {
        match self.list.is_empty() {
            true => (*token == Token::none()).then_some(0),
            false => self.list.iter().position(|known| known == token),
        }
    }

    fn parse(text: &str) -> Self {
        let mut tokens = Self::default();
        for word in text.split_ascii_whitespace() {
            match word {
                BAR => tokens.passed = tokens.list.len(),
                token => tokens.list.push(Token(token.to_owned())),
            }
        }
        tokens
    }

    pub(crate) fn last(self) -> Token {
        self.list
            .into_iter()
            .next_back()
            .unwrap_or_else(Token::none)
    }

    /// Returns the list with a new token, and with the bar at the token that the file shows.
    fn renewed(mut self, in_file: Option<&Token>) -> Self {
        if self.list.is_empty() {
            self.list.push(Token::none());
        }
        if let Some(index) = in_file.and_then(|token| self.index_of(token)) {
            self.passed = self.passed.max(index.saturating_sub(1));
        }
        let dropped = self.passed.saturating_sub(PASSED_MAX);
        self.list.drain(..dropped);
        self.passed -= dropped;
        if self.list.len() - self.passed < TOKENS_MAX {
            let number = self.list.last().map(Token::number).unwrap_or_default();
            self.list.push(Token::after(number));
        }
        self
    }

    fn text(&self) -> String {
        let mut words: Vec<_> = self.list.iter().map(|token| token.0.as_str()).collect();
        words.insert(self.passed, BAR);
        words.join(" ")
    }
}

/// Returns the list as `connection` sees it: file and log together.
pub(crate) fn tokens(connection: &Connection) -> Result<Tokens> {
    Ok(stored(connection)?
        .map(|text| Tokens::parse(&text))
        .unwrap_or_default())
}

/// Returns the token that the file at `path` shows without its log.
///
/// An error usually means that another process is copying its log into the file at this moment.
pub(crate) fn token_in_file(path: &Path) -> Result<Token> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri_without_log(path), flags)?;
    tokens(&connection).map(Tokens::last)
}

/// Adds a token in the open transaction of `connection`. `in_file` is the token that the file shows, if it is known.
pub(crate) fn renew(connection: &Connection, in_file: Option<&Token>) -> Result<()> {
    put(connection, &tokens(connection)?.renewed(in_file))
}

/// Writes the list unchanged, so that it is in the part of the log that this transaction may start.
pub(crate) fn repeat(connection: &Connection) -> Result<()> {
    put(connection, &tokens(connection)?)
}

/// Gives a copy a token of its own.
pub(crate) fn renew_copy(connection: &Connection) -> Result<()> {
    put(
        connection,
        &Tokens {
            list: vec![Token::after(0)],
            passed: 0,
        },
    )
}

fn put(connection: &Connection, tokens: &Tokens) -> Result<()> {
    let put = "INSERT INTO eventsourcing_meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection
        .prepare_cached(put)?
        .execute([KEY, &tokens.text()])
        .map(drop)
}

fn stored(connection: &Connection) -> Result<Option<String>> {
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'eventsourcing_meta'";
    if connection
        .prepare_cached(tables)?
        .query_row([], |row| row.get::<_, i64>(0))?
        == 0
    {
        return Ok(None);
    }
    let select = "SELECT value FROM eventsourcing_meta WHERE key = ?1";
    connection
        .prepare_cached(select)?
        .query_row([KEY], |row| row.get(0))
        .optional()
}

/// `immutable` makes SQLite read the file alone: no log, no locks, no writes. SQLite opens and closes the file itself,
/// because it keeps the handle as long as this process has locks on the file; `File::open` here would drop those locks.
fn uri_without_log(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Tokens {
        Tokens::parse(text)
    }

    fn token(text: &str) -> Token {
        Token(text.to_owned())
    }

    #[test]
    fn first_token_follows_a_file_that_had_none() {
        let none = Tokens::default();
        assert!(none.allow(&Token::none()) && !none.allow(&token("1-a")));
        let first = none.renewed(Some(&Token::none()));
        assert!(first.allow(&Token::none()) && first.allow(&first.clone().last()));
    }

    #[test]
    fn tokens_that_the_file_has_passed_are_not_allowed_but_one() {
        let renewed = list("| 1-a 2-b 3-c").renewed(Some(&token("3-c")));
        assert!(
            renewed.text().starts_with("1-a | 2-b 3-c 4-"),
            "{}",
            renewed.text()
        );
        assert!(
            !renewed.allow(&token("1-a"))
                && renewed.allow(&token("2-b"))
                && renewed.allow(&token("3-c"))
        );
        assert_eq!(Tokens::parse(&renewed.text()), renewed);
        let unknown = list("| 1-a 2-b").renewed(None);
        assert!(
            unknown.allow(&token("1-a")),
            "it is not known how far the file is"
        );
    }

    #[test]
    fn file_never_goes_back() {
        let known = list("1-a | 2-b 3-c");
        assert!(known.allow_after(&token("3-c"), &token("1-a")));
        assert!(!known.allow_after(&token("2-b"), &token("3-c")));
        assert!(
            !known.allow_after(&token("3-c"), &token("4-d")),
            "what it has shown is not in the list at all"
        );
        assert!(
            !known.allow_after(&token("1-a"), &token("1-a")),
            "it is passed"
        );
        assert!(
            known.go_on_from(&token("1-a"))
                && known.go_on_from(&token("3-c"))
                && known.go_on_from(&Token::none())
        );
        assert!(!known.go_on_from(&token("4-d")), "an earlier time");
        assert!(!list("1-z").go_on_from(&token("3-c")), "another life");
    }

    #[test]
    fn list_does_not_grow_without_end() {
        let long = (0..100).fold(Tokens::default(), |tokens, _| tokens.renewed(None));
        assert_eq!(long.list.len(), TOKENS_MAX);
        let old = (0..100).fold(Tokens::default(), |tokens, _| {
            let last = tokens.clone().last();
            tokens.renewed(Some(&last))
        });
        assert_eq!((old.passed, old.list.len()), (PASSED_MAX, PASSED_MAX + 3));
        assert!(old.allow_after(&old.clone().last(), &token("3-long-ago")));
        assert!(!old.allow_after(&old.clone().last(), &token("1000-of-another-life")));
    }

    #[test]
    fn file_is_read_without_its_log_whatever_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a b?c#d%41ü.db");
        let file = Connection::open(&path).expect("a file");
        let table = "PRAGMA journal_mode = wal; CREATE TABLE eventsourcing_meta (key TEXT PRIMARY KEY, value TEXT)";
        file.execute_batch(table).expect("a table");
        renew(&file, None).expect("a token");
        assert_eq!(
            token_in_file(&path),
            Ok(Token::none()),
            "the log is not looked at"
        );
        file.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .expect("a checkpoint");
        assert_eq!(
            token_in_file(&path),
            Ok(tokens(&file).expect("tokens").last())
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            3,
            "file, -wal, -shm"
        );
    }
}
