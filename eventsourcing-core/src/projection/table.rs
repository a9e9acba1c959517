//! [`Table`]: the tables of a read model, and what they are called in statements.

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
    /// The longest name of a table, in bytes: databases cut off what is longer with a number behind it.
    pub const NAME_BYTES_MAX: usize = 40;

    /// A table with these columns, as they stand in `CREATE TABLE name (…)`.
    ///
    /// Its name has lower case letters, digits and `_`, and no other read model of the database has it.
    #[must_use]
    pub const fn new(name: &'static str, columns: &'static str) -> Self {
        Self { name, columns, indexes: &[] }
    }

    /// With an index on each of these lists of columns.
    #[must_use]
    pub const fn with_indexes(self, indexes: &'static [&'static str]) -> Self {
        Self { indexes, ..self }
    }

    /// The statements that make it in a generation.
    pub(crate) fn creation(&self, generation: u64) -> impl Iterator<Item = String> + use<'_> {
        let table = table_of(self.name, generation);
        let indexes = self.indexes.iter().zip(1..).map({
            let table = table.clone();
            move |(columns, number)| format!("CREATE INDEX {table}_index_{number} ON {table} ({columns})")
        });
        std::iter::once(format!("CREATE TABLE {table} ({})", self.columns)).chain(indexes)
    }
}

/// What the table `name` is called in a generation.
pub(crate) fn table_of(name: &str, generation: u64) -> String {
    format!("{name}_{generation}")
}

/// What is wrong with the tables of all read models of a database.
pub(crate) fn check_tables<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for Table { name, .. } in tables {
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name || name.len() > Table::NAME_BYTES_MAX {
            return Err(format!(
                "{name:?} is no name of a table: it begins with a lower case letter, goes on with those, digits and _, \
                 and has at most {} bytes",
                Table::NAME_BYTES_MAX
            ));
        }
        if !seen.insert(name) {
            return Err(format!("two read models have a table {name:?}; give one of them another name"));
        }
    }
    Ok(())
}

/// What stands for `{table}` in a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Names {
    /// What readers see.
    Shown,
    /// One generation.
    Of(u64),
}

impl Names {
    /// The statement with names of tables.
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
                        Self::Shown => filled.push_str(name),
                        Self::Of(generation) => filled.push_str(&table_of(name, generation)),
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
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unknown_table(sql: &str, name: &str, tables: &[Table]) -> SqlError {
    let known: Vec<_> = tables.iter().map(|table| format!("{{{}}}", table.name)).collect();
    let reason = format!("the read model has no table {{{name}}}; it has {}", known.join(", "));
    SqlError::Statement { sql: sql.to_owned(), reason, source: None }
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
        let shown = Names::Shown.fill_in(sql, TABLES).expect("known tables");
        assert_eq!(shown, "SELECT '{}', '{\"a\": 1}' FROM feed JOIN totals ON true");
        let second = Names::Of(2).fill_in(sql, TABLES).expect("known tables");
        assert_eq!(second, "SELECT '{}', '{\"a\": 1}' FROM feed_2 JOIN totals_2 ON true");
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_that_names_the_tables() {
        let error = Names::Shown.fill_in("SELECT * FROM {fed}", TABLES).expect_err("no such table").to_string();
        assert!(error.contains("no table {fed}; it has {feed}, {totals}"), "{error}");
    }

    #[test]
    fn a_table_is_made_with_its_indexes() {
        let statements: Vec<_> = TABLES[0].creation(3).collect();
        assert_eq!(
            statements,
            [
                "CREATE TABLE feed_3 (position BIGINT PRIMARY KEY)",
                "CREATE INDEX feed_3_index_1 ON feed_3 (a)",
                "CREATE INDEX feed_3_index_2 ON feed_3 (b, c)",
            ]
        );
    }

    #[test]
    fn names_are_checked() {
        assert!(check_tables(TABLES).is_ok());
        assert!(check_tables(TABLES.iter().chain(TABLES)).expect_err("twice").contains("two read models"));
        for wrong in ["", "Feed", "1st", "a-b", "a b", &"a".repeat(41)] {
            let table = Table { name: String::leak(wrong.to_owned()), ..TABLES[0] };
            assert!(check_tables([&table]).is_err(), "{wrong:?}");
        }
    }
}
