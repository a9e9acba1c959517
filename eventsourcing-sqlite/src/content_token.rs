//! Which content belongs to which: tokens that tell whether the database file and its write-ahead log are of one life.
//!
//! A copy over the file keeps its inode, and a write-ahead log that was left behind fits any file in SQLite's eyes: SQLite
//! would mix the pages of both. So the store keeps a list of random tokens in `eventsourcing_meta`. A token is added by
//! the last commit before a checkpoint and by the first one after it. The database file alone, read without its log, shows
//! the token of its last checkpoint. While both belong together that token is in the list that file and log show
//! together, and it never goes back in the list. A file of another life, or of an earlier time, shows a token that is not.
//!
//! In the list a bar stands behind the tokens that the file has passed; some of them are kept, so that others find the token
//! that they have seen last. The newest that is passed stays on this side of the bar: another process may have seen a
//! checkpoint in the file's pages which the disk had not confirmed, and a power cut takes those back.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result};
use uuid::Uuid;

const KEY: &str = "life";
/// Stands in the list for a file that had no token yet.
const NONE: &str = "0-";
const BAR: &str = "|";
/// More than these are not added; that happens only while readers hold up every checkpoint.
const TOKENS_MAX: usize = 32;
/// How many of those that the file has passed are kept.
const PASSED_MAX: usize = 16;

/// A number that grows, and a random part: what the database file shows without its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(String);

/// What the file and its log show together, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    list: Vec<Token>,
    /// How many of them the file has passed.
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
    /// Returns `true` if a file that shows `token` belongs to this list; one without a token belongs to a list that begins so,
    /// and to a store that has no list yet.
    pub(crate) fn allow(&self, token: &Token) -> bool {
        self.index_of(token)
            .is_some_and(|index| index >= self.passed)
    }

    /// Returns `true` if `token` is one that the file may show after it has shown `before`.
    pub(crate) fn allow_after(&self, token: &Token, before: &Token) -> bool {
        let Some(index) = self.index_of(token).filter(|index| *index >= self.passed) else {
            return false;
        };
        match self.index_of(before) {
            Some(before) => before <= index,
            // So many checkpoints later it may have been dropped.
            None => self.passed == PASSED_MAX && self.list[0].number() > before.number(),
        }
    }

    /// Returns `true` if the list has gone on from one that ended in `token`.
    pub(crate) fn go_on_from(&self, token: &Token) -> bool {
        match self.index_of(token) {
            Some(_) => true,
            // So many checkpoints later it may have been dropped. A list that has no token yet begins with none.
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

    /// With a new token, and the bar where the file is.
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

/// The list as `connection` sees it: file and log together.
pub(crate) fn tokens(connection: &Connection) -> Result<Tokens> {
    Ok(stored(connection)?
        .map(|text| Tokens::parse(&text))
        .unwrap_or_default())
}

/// The token that the file at `path` shows without its log.
///
/// An error means as a rule that another process is just copying its log into the file.
pub(crate) fn token_in_file(path: &Path) -> Result<Token> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri_without_log(path), flags)?;
    tokens(&connection).map(Tokens::last)
}

/// Adds a token in the open transaction of `connection`. `in_file` is the token that the file shows, if that is known.
pub(crate) fn renew(connection: &Connection, in_file: Option<&Token>) -> Result<()> {
    put(connection, &tokens(connection)?.renewed(in_file))
}

/// Writes the list as it is, so that it stands in the part of the log that this transaction may begin.
pub(crate) fn repeat(connection: &Connection) -> Result<()> {
    put(connection, &tokens(connection)?)
}

/// Gives a copy a life of its own.
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

/// `immutable` has SQLite read the file alone: no log, no locks, nothing written. SQLite itself opens and closes it, since
/// SQLite keeps the handle while this process has locks on the file.
fn uri_without_log(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
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
