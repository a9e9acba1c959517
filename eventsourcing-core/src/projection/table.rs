//! [`Table`]: the tables of a read model, and their names in statements and in the database.

use std::collections::HashSet;

use crate::sql::SqlError;

/// A table of a read model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static str,
    pub(crate) indexes: &'static [&'static str],
}

impl Table {
    /// The longest name of a table, in bytes. Databases truncate longer names once a number is
    /// appended.
    pub const NAME_BYTES_MAX: usize = 40;

    /// Declares a table with these columns, written as in `CREATE TABLE name (…)`.
    ///
    /// The name has lower case letters, digits and `_`, and no other read model of the database has
    /// it. A keyword of SQL is allowed, such as `order`: write it `{order}` in statements, which
    /// quotes it. Names that a store uses itself on any database, such as `events`, are refused on
    /// all.
    #[must_use]
    pub const fn new(name: &'static str, columns: &'static str) -> Self {
        Self {
            name,
            columns,
            indexes: &[],
        }
    }

    /// Adds an index on each of these lists of columns.
    #[must_use]
    pub const fn with_indexes(self, indexes: &'static [&'static str]) -> Self {
        Self { indexes, ..self }
    }

    /// Checks that a table of a read model may be named `name`, by the same rules on every
    /// database. Systems check by themselves when they start.
    ///
    /// # Errors
    /// A text that says what is wrong with the name and what to do.
    pub fn check_name(name: &str) -> Result<(), String> {
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name || name.len() > Self::NAME_BYTES_MAX {
            return Err(format!(
                "{name:?} is not a table name: use a lower case letter followed by lower case letters, digits and _, \
                 at most {} bytes in all",
                Self::NAME_BYTES_MAX
            ));
        }
        if is_of_a_store(name) {
            return Err(format!(
                "{name:?} is not a name for a table of a read model: a store or a database uses it for itself, on SQLite or \
                 on PostgreSQL; give the table another name"
            ));
        }
        Ok(())
    }

    /// Returns the whole definition in one line. Definitions that differ only in line breaks and
    /// spaces are equal.
    pub(crate) fn definition(&self) -> String {
        let Self {
            name,
            columns,
            indexes,
        } = self;
        let text = format!("{name} ({columns}) indexes ({})", indexes.join("; "));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns the statements that create the table in a generation.
    pub(crate) fn creation(&self, generation: u64) -> impl Iterator<Item = String> + use<'_> {
        let table = table_of(self.name, generation);
        let indexes = self.indexes.iter().zip(1..).map({
            let table = table.clone();
            move |(columns, number)| {
                format!(
                    "CREATE INDEX {} ON {} ({columns})",
                    quoted(&format!("{table}_index_{number}")),
                    quoted(&table)
                )
            }
        });
        std::iter::once(format!(
            "CREATE TABLE {} ({})",
            quoted(&table),
            self.columns
        ))
        .chain(indexes)
    }
}

/// Returns the name of the table `name` in a generation.
pub(crate) fn table_of(name: &str, generation: u64) -> String {
    format!("{name}_{generation}")
}

/// Quotes a name, so that it may be a keyword of SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The tables, views, sequences and indexes of the stores. PostgreSQL keeps them in the schema in
/// which read models live. A system may move from one store to another, so the names of each store
/// are refused on all; a test of each store compares the list.
const NAMES_OF_STORES: [&str; 19] = [
    "events",
    "events_first",
    "events_log",
    "events_position",
    "events_stream",
    "leases",
    "leases_pkey",
    "meta",
    "meta_pkey",
    "notes",
    "notes_pkey",
    // A table function that the statements of SQLite's store call: a table of that name would hide
    // it.
    "rarray",
    "readable_events",
    "receipts",
    "receipts_pkey",
    "snapshots",
    "snapshots_pkey",
    "tracking",
    "tracking_pkey",
];
/// The prefixes that SQLite's store and the databases reserve.
const PREFIXES_OF_STORES: [&str; 3] = ["eventsourcing_", "pg_", "sqlite_"];

/// Returns `true` if a table of this name would collide with a store, on any database.
fn is_of_a_store(name: &str) -> bool {
    NAMES_OF_STORES.contains(&name)
        || PREFIXES_OF_STORES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Returns `true` if `name` is the name of a generation of the table `other`, or of an index on
/// one.
fn is_of_a_generation(name: &str, other: &str) -> bool {
    let Some(numbered) = name
        .strip_prefix(other)
        .and_then(|rest| rest.strip_prefix('_'))
    else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match numbered.split_once('_') {
        None => is_number(numbered),
        Some((number, "index" | "pkey")) => is_number(number),
        Some((number, rest)) => {
            is_number(number) && rest.strip_prefix("index_").is_some_and(is_number)
        }
    }
}

/// Checks the tables of all read models of a database.
pub(crate) fn check_tables<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Result<(), String> {
    let tables: Vec<_> = tables.into_iter().collect();
    let mut seen = HashSet::new();
    for Table { name, .. } in &tables {
        Table::check_name(name)?;
        if !seen.insert(name) {
            return Err(format!(
                "two read models have a table {name:?}; give one of them another name"
            ));
        }
        if let Some(other) = tables
            .iter()
            .find(|other| is_of_a_generation(name, other.name))
        {
            return Err(format!(
                "a generation of the table {:?} may be called {name:?}, like another table; give one of them another name",
                other.name
            ));
        }
    }
    Ok(())
}

/// The tables that replace `{table}` in a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Names {
    /// The live generation, through views.
    Live,
    /// One generation.
    Generation(u64),
}

impl Names {
    /// Returns the statement with the names filled in.
    pub(crate) fn fill_in(self, sql: &str, tables: &[Table]) -> Result<String, SqlError> {
        let mut filled = String::with_capacity(sql.len() + 16);
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            match after.split_once('}') {
                Some((name, after)) if is_placeholder(name) => {
                    if !tables.iter().any(|table| table.name == name) {
                        return Err(unknown_table(sql, name, tables));
                    }
                    match self {
                        Self::Live => filled.push_str(&quoted(name)),
                        Self::Generation(generation) => {
                            filled.push_str(&quoted(&table_of(name, generation)));
                        }
                    }
                    rest = after;
                }
                _ => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn is_placeholder(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unknown_table(sql: &str, name: &str, tables: &[Table]) -> SqlError {
    let known: Vec<_> = tables
        .iter()
        .map(|table| format!("{{{}}}", table.name))
        .collect();
    let reason = format!(
        "the read model has no table {{{name}}}; it has {}",
        known.join(", ")
    );
    SqlError::Statement {
        sql: sql.to_owned(),
        reason,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &[Table] = &[
        Table::new("feed", "position BIGINT PRIMARY KEY").with_indexes(&["a", "b, c"]),
        Table::new("totals", "n BIGINT"),
    ];

    #[test]
    fn placeholders_become_tables() {
        let sql = "SELECT '{}', '{\"a\": 1}' FROM {feed} JOIN {totals} ON true";
        let shown = Names::Live.fill_in(sql, TABLES).expect("known tables");
        assert_eq!(
            shown,
            r#"SELECT '{}', '{"a": 1}' FROM "feed" JOIN "totals" ON true"#
        );
        let second = Names::Generation(2)
            .fill_in(sql, TABLES)
            .expect("known tables");
        assert_eq!(
            second,
            r#"SELECT '{}', '{"a": 1}' FROM "feed_2" JOIN "totals_2" ON true"#
        );
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_that_names_the_tables() {
        let error = Names::Live
            .fill_in("SELECT * FROM {fed}", TABLES)
            .expect_err("no such table")
            .to_string();
        assert!(
            error.contains("no table {fed}; it has {feed}, {totals}"),
            "{error}"
        );
    }

    #[test]
    fn a_table_is_made_with_its_indexes() {
        let statements: Vec<_> = TABLES[0].creation(3).collect();
        assert_eq!(
            statements,
            [
                r#"CREATE TABLE "feed_3" (position BIGINT PRIMARY KEY)"#,
                r#"CREATE INDEX "feed_3_index_1" ON "feed_3" (a)"#,
                r#"CREATE INDEX "feed_3_index_2" ON "feed_3" (b, c)"#,
            ]
        );
    }

    #[test]
    fn names_are_checked() {
        assert!(check_tables(TABLES).is_ok());
        assert!(
            check_tables(TABLES.iter().chain(TABLES))
                .expect_err("twice")
                .contains("two read models")
        );
        for wrong in ["", "Feed", "1st", "a-b", "a b", &"a".repeat(41)] {
            let table = Table {
                name: String::leak(wrong.to_owned()),
                ..TABLES[0]
            };
            assert!(check_tables([&table]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn names_that_a_store_or_a_generation_has_are_refused() {
        let named = |name: &str| Table {
            name: String::leak(name.to_owned()),
            ..TABLES[1]
        };
        for name in [
            "events",
            "tracking",
            "notes_pkey",
            "rarray",
            "eventsourcing_events",
            "sqlite_schema",
            "pg_class",
        ] {
            let error = check_tables([&named(name)]).expect_err(name);
            assert!(
                error.contains(name) && error.ends_with("give the table another name"),
                "{error}"
            );
        }
        for name in ["feed_1", "feed_12_index", "feed_12_index_3", "feed_1_pkey"] {
            for tables in [[named("feed"), named(name)], [named(name), named("feed")]] {
                let error = check_tables(&tables).expect_err(name);
                assert!(
                    error.contains(name) && error.contains("generation"),
                    "{error}"
                );
            }
        }
        for name in [
            "order",
            "user",
            "events_by_day",
            "notes_1",
            "feed_index_1",
            "feed_x",
            "feed_",
            "feed_2024_totals",
        ] {
            assert_eq!(
                check_tables(&[named("feed"), named(name)]),
                Ok(()),
                "{name}"
            );
        }
    }
}
