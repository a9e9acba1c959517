//! Names of tables: all databases accept the same names, and refuse the same.

use bank_example::application::accounts::AccountService;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use derive_more::{Deref, From};
use eventsourcing::sql::SqlError;
use eventsourcing::{
    ReadModel, RecordedEvent, Runner, RunningSystem, SqlProjection, SqlReadModel, System,
    SystemError, Table, Tx, values,
};

use super::support::Place;
use super::{start, stores};

/// Tables with names that are words of SQL, or names that a database uses itself.
macro_rules! words {
    ($($word:literal),* $(,)?) => {
        const WORDS: &[&str] = &[$($word),*];

        impl SqlReadModel for Words {
            const VERSION: u32 = 1;
            const TABLES: &'static [Table] =
                &[$(Table::new($word, "account TEXT NOT NULL, number BIGINT NOT NULL").with_indexes(&["number"])),*];
        }
    };
}

#[derive(Debug, Deref, From)]
struct Words(ReadModel);

// All words of SQLite (https://sqlite.org/lang_keywords.html), those that PostgreSQL reserves in any way, and some that are not
// words of the language.
words![
    "abort",
    "accounts",
    "action",
    "add",
    "after",
    "all",
    "alter",
    "always",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "attach",
    "authorization",
    "autoincrement",
    "before",
    "begin",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "by",
    "bytea",
    "cascade",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "commit",
    "concurrently",
    "conflict",
    "constraint",
    "create",
    "cross",
    "current",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "database",
    "dbstat",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "deferred",
    "delete",
    "desc",
    "detach",
    "distinct",
    "do",
    "drop",
    "each",
    "else",
    "end",
    "escape",
    "except",
    "exclude",
    "exclusive",
    "exists",
    "explain",
    "extract",
    "fail",
    "false",
    "fetch",
    "filter",
    "first",
    "float",
    "following",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "generated",
    "glob",
    "grant",
    "greatest",
    "group",
    "grouping",
    "groups",
    "having",
    "if",
    "ignore",
    "ilike",
    "immediate",
    "in",
    "index",
    "indexed",
    "initially",
    "inner",
    "inout",
    "insert",
    "instead",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "json_each",
    "json_tree",
    "key",
    "last",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "main",
    "match",
    "materialized",
    "national",
    "natural",
    "nchar",
    "newest",
    "no",
    "none",
    "normalize",
    "not",
    "nothing",
    "notnull",
    "null",
    "nullif",
    "nulls",
    "numeric",
    "of",
    "offset",
    "oid",
    "oldest",
    "on",
    "only",
    "or",
    "order",
    "others",
    "out",
    "outer",
    "over",
    "overlaps",
    "overlay",
    "partition",
    "placing",
    "plan",
    "position",
    "pragma",
    "pragma_table_info",
    "preceding",
    "precision",
    "primary",
    "query",
    "raise",
    "range",
    "real",
    "recursive",
    "references",
    "regexp",
    "reindex",
    "release",
    "rename",
    "replace",
    "restrict",
    "returning",
    "right",
    "rollback",
    "row",
    "rowid",
    "rows",
    "savepoint",
    "select",
    "session_user",
    "set",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "temp",
    "temporary",
    "then",
    "ties",
    "time",
    "timestamp",
    "to",
    "trailing",
    "transaction",
    "treat",
    "trigger",
    "trim",
    "true",
    "unbounded",
    "union",
    "unique",
    "update",
    "user",
    "user_name",
    "users",
    "using",
    "vacuum",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "view",
    "virtual",
    "when",
    "where",
    "window",
    "with",
    "within",
    "without",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

impl SqlProjection<Account> for Words {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        for (word, number) in WORDS.iter().zip(0_i64..) {
            let insert = format!("INSERT INTO {{{word}}} (account, number) VALUES ($1, $2)");
            tx.execute(&insert, &values![event.aggregate_id, number])
                .await?;
            let changed =
                format!("UPDATE {{{word}}} SET number = {{{word}}}.number + 1 WHERE number = $1");
            tx.execute(&changed, &values![number]).await?;
        }
        Ok(())
    }
}

#[derive(Debug, System)]
struct Bank {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    words: Words,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_word_of_sql_is_a_name_of_a_table_on_every_database() {
    for place in Place::all_durable() {
        let stores = stores(&place).await;
        let bank: RunningSystem<Bank> = start(&stores, Runner::concurrent()).await;
        bank.accounts.open("Alice").await.expect("an account");
        bank.wait_until_caught_up()
            .await
            .expect("the read model follows");
        for (word, number) in WORDS.iter().zip(1_i64..) {
            let rows = bank
                .words
                .query(&format!("SELECT number FROM {{{word}}}"), &[])
                .await;
            let rows = rows.unwrap_or_else(|error| panic!("{word}: {error}"));
            assert_eq!(
                rows[0].get::<i64>("number").expect("a number"),
                number,
                "{word}"
            );
        }
        let compared = bank
            .verify_contents()
            .await
            .expect("it is built anew and compared");
        assert!(
            compared
                .iter()
                .all(eventsourcing::system::ContentsVerification::agrees),
            "{compared:?}"
        );
        bank.stop().await.expect("a graceful end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_test_are_all_that_postgresql_reserves() {
    let stores = stores(&Place::postgres()).await;
    let database = stores.store().database().expect("a database");
    let rows = database
        .query(
            "SELECT word FROM pg_get_keywords() WHERE catcode <> 'U'",
            &[],
        )
        .await
        .expect("the words");
    let words: Vec<String> = rows
        .iter()
        .map(|row| row.get("word").expect("a text"))
        .collect();
    let missing: Vec<_> = words
        .iter()
        .filter(|word| !WORDS.contains(&word.as_str()))
        .collect();
    assert!(words.len() > 100 && missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_that_a_store_has_is_refused() {
    for (place, names) in Place::all_durable().iter().zip([
        "SELECT name FROM sqlite_schema",
        "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace",
    ]) {
        let database = stores(place).await.store().database().expect("a database");
        let rows = database.query(names, &[]).await.expect("the names");
        assert!(rows.len() > 8, "{rows:?}");
        for row in &rows {
            let name: String = row.get("name").expect("a text");
            let refused = Table::check_name(&name).expect_err(&name);
            assert!(refused.contains(&name), "{refused}");
        }
    }
}

macro_rules! refused {
    ($($model:ident: $($name:literal),+;)*) => {$(
        #[derive(Debug, Deref, From)]
        struct $model(ReadModel);

        impl SqlReadModel for $model {
            const VERSION: u32 = 1;
            const TABLES: &'static [Table] = &[$(Table::new($name, "account TEXT NOT NULL")),+];
        }

        impl SqlProjection<Account> for $model {
            type Error = SqlError;

            async fn project(&self, _: &RecordedEvent<Account>, _: &mut Tx<'_>) -> Result<(), SqlError> {
                Ok(())
            }
        }
    )*};
}

refused! {
    Tracking: "tracking";
    Sqlites: "sqlite_balances";
    Generations: "balances", "balances_1";
}

#[derive(Debug, System)]
#[expect(dead_code, reason = "it never starts")]
struct BankOfTracking {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    wrong: Tracking,
}

#[derive(Debug, System)]
#[expect(dead_code, reason = "it never starts")]
struct BankOfSqlites {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    wrong: Sqlites,
}

#[derive(Debug, System)]
#[expect(dead_code, reason = "it never starts")]
struct BankOfGenerations {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    wrong: Generations,
}

/// A refusal says why, and the store has no table of it.
async fn assert_refused<S: System + std::fmt::Debug>(place: &Place, what: &str) {
    let stores = stores(place).await;
    match eventsourcing::SystemBuilder::<S>::new(stores).start().await {
        Err(SystemError::Invalid { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("{what} is refused, but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_one_database_refuses_all_refuse_at_the_start() {
    for place in Place::all() {
        assert_refused::<BankOfTracking>(&place, "\"tracking\" is not a name for a table").await;
        assert_refused::<BankOfSqlites>(&place, "\"sqlite_balances\" is not a name for a table")
            .await;
        assert_refused::<BankOfGenerations>(
            &place,
            "a generation of the table \"balances\" may be called",
        )
        .await;
        let bank: RunningSystem<EventSourcedBank> =
            start(&stores(&place).await, Runner::concurrent()).await;
        bank.accounts
            .open("Alice")
            .await
            .expect("the bank itself starts");
        bank.stop().await.expect("a graceful end");
    }
}
