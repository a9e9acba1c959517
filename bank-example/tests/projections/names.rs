//! Names of tables: what one database takes all take, and what one refuses all refuse.

use bank_example::application::accounts::AccountService;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use derive_more::{Deref, From};
use eventsourcing_core::sql::SqlError;
use eventsourcing_core::{
    ReadModel, Recorded, Runner, Running, SqlProjection, SqlReadModel, System, SystemError, Table, Tx, values,
};

use super::support::Place;
use super::{start, stores};

/// Tables that are called as words of SQL are, or as what a database has of its own.
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

// Those of SQLite (https://sqlite.org/lang_keywords.html), all of PostgreSQL's, and some that are not words of the language.
words![
    "abort",
    "absolute",
    "access",
    "accounts",
    "action",
    "add",
    "admin",
    "after",
    "aggregate",
    "all",
    "also",
    "alter",
    "always",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asensitive",
    "assertion",
    "assignment",
    "asymmetric",
    "at",
    "atomic",
    "attach",
    "attribute",
    "authorization",
    "autoincrement",
    "backward",
    "before",
    "begin",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "breadth",
    "by",
    "bytea",
    "cache",
    "call",
    "called",
    "cascade",
    "cascaded",
    "case",
    "cast",
    "catalog",
    "chain",
    "char",
    "character",
    "characteristics",
    "check",
    "checkpoint",
    "class",
    "close",
    "cluster",
    "coalesce",
    "collate",
    "collation",
    "column",
    "columns",
    "comment",
    "comments",
    "commit",
    "committed",
    "compression",
    "concurrently",
    "configuration",
    "conflict",
    "connection",
    "constraint",
    "constraints",
    "content",
    "continue",
    "conversion",
    "copy",
    "cost",
    "create",
    "cross",
    "csv",
    "cube",
    "current",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "cursor",
    "cycle",
    "data",
    "database",
    "day",
    "dbstat",
    "deallocate",
    "dec",
    "decimal",
    "declare",
    "default",
    "defaults",
    "deferrable",
    "deferred",
    "definer",
    "delete",
    "delimiter",
    "delimiters",
    "depends",
    "depth",
    "desc",
    "detach",
    "dictionary",
    "disable",
    "discard",
    "distinct",
    "do",
    "document",
    "domain",
    "double",
    "drop",
    "each",
    "else",
    "enable",
    "encoding",
    "encrypted",
    "end",
    "enum",
    "escape",
    "event",
    "except",
    "exclude",
    "excluding",
    "exclusive",
    "execute",
    "exists",
    "explain",
    "expression",
    "extension",
    "external",
    "extract",
    "fail",
    "false",
    "family",
    "fetch",
    "filter",
    "finalize",
    "first",
    "float",
    "following",
    "for",
    "force",
    "foreign",
    "forward",
    "freeze",
    "from",
    "full",
    "function",
    "functions",
    "generated",
    "glob",
    "global",
    "grant",
    "granted",
    "greatest",
    "group",
    "grouping",
    "groups",
    "handler",
    "having",
    "header",
    "hold",
    "hour",
    "identity",
    "if",
    "ignore",
    "ilike",
    "immediate",
    "immutable",
    "implicit",
    "import",
    "in",
    "include",
    "including",
    "increment",
    "index",
    "indexed",
    "indexes",
    "inherit",
    "inherits",
    "initially",
    "inline",
    "inner",
    "inout",
    "input",
    "insensitive",
    "insert",
    "instead",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "invoker",
    "is",
    "isnull",
    "isolation",
    "join",
    "json_each",
    "json_tree",
    "key",
    "label",
    "language",
    "large",
    "last",
    "lateral",
    "leading",
    "leakproof",
    "least",
    "left",
    "level",
    "like",
    "limit",
    "listen",
    "load",
    "local",
    "localtime",
    "localtimestamp",
    "location",
    "lock",
    "locked",
    "logged",
    "main",
    "mapping",
    "match",
    "matched",
    "materialized",
    "maxvalue",
    "merge",
    "method",
    "minute",
    "minvalue",
    "mode",
    "month",
    "move",
    "name",
    "names",
    "national",
    "natural",
    "nchar",
    "new",
    "newest",
    "next",
    "nfc",
    "nfd",
    "nfkc",
    "nfkd",
    "no",
    "none",
    "normalize",
    "normalized",
    "not",
    "nothing",
    "notify",
    "notnull",
    "nowait",
    "null",
    "nullif",
    "nulls",
    "numeric",
    "object",
    "of",
    "off",
    "offset",
    "oid",
    "oids",
    "old",
    "oldest",
    "on",
    "only",
    "operator",
    "option",
    "options",
    "or",
    "order",
    "ordinality",
    "others",
    "out",
    "outer",
    "over",
    "overlaps",
    "overlay",
    "overriding",
    "owned",
    "owner",
    "parallel",
    "parameter",
    "parser",
    "partial",
    "partition",
    "passing",
    "password",
    "placing",
    "plan",
    "plans",
    "policy",
    "position",
    "pragma",
    "pragma_table_info",
    "preceding",
    "precision",
    "prepare",
    "prepared",
    "preserve",
    "primary",
    "prior",
    "privileges",
    "procedural",
    "procedure",
    "procedures",
    "program",
    "publication",
    "query",
    "quote",
    "raise",
    "range",
    "read",
    "real",
    "reassign",
    "recheck",
    "recursive",
    "ref",
    "references",
    "referencing",
    "refresh",
    "regexp",
    "reindex",
    "relative",
    "release",
    "rename",
    "repeatable",
    "replace",
    "replica",
    "reset",
    "restart",
    "restrict",
    "return",
    "returning",
    "returns",
    "revoke",
    "right",
    "role",
    "rollback",
    "rollup",
    "routine",
    "routines",
    "row",
    "rowid",
    "rows",
    "rule",
    "savepoint",
    "schema",
    "schemas",
    "scroll",
    "search",
    "second",
    "security",
    "select",
    "sequence",
    "sequences",
    "serializable",
    "server",
    "session",
    "session_user",
    "set",
    "setof",
    "sets",
    "share",
    "show",
    "similar",
    "simple",
    "skip",
    "smallint",
    "snapshot",
    "some",
    "sql",
    "stable",
    "standalone",
    "start",
    "statement",
    "statistics",
    "stdin",
    "stdout",
    "storage",
    "stored",
    "strict",
    "strip",
    "subscription",
    "substring",
    "support",
    "symmetric",
    "sysid",
    "system",
    "table",
    "tables",
    "tablesample",
    "tablespace",
    "temp",
    "template",
    "temporary",
    "text",
    "then",
    "ties",
    "time",
    "timestamp",
    "to",
    "trailing",
    "transaction",
    "transform",
    "treat",
    "trigger",
    "trim",
    "true",
    "truncate",
    "trusted",
    "type",
    "types",
    "uescape",
    "unbounded",
    "uncommitted",
    "unencrypted",
    "union",
    "unique",
    "unknown",
    "unlisten",
    "unlogged",
    "until",
    "update",
    "user",
    "user_name",
    "users",
    "using",
    "vacuum",
    "valid",
    "validate",
    "validator",
    "value",
    "values",
    "varchar",
    "variadic",
    "varying",
    "verbose",
    "version",
    "view",
    "views",
    "virtual",
    "volatile",
    "when",
    "where",
    "whitespace",
    "window",
    "with",
    "within",
    "without",
    "work",
    "wrapper",
    "write",
    "xml",
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
    "year",
    "yes",
    "zone"
];

impl SqlProjection<Account> for Words {
    type Error = SqlError;

    async fn project(&self, event: &Recorded<Account>, tx: &mut Tx<'_>) -> Result<(), SqlError> {
        for (word, number) in WORDS.iter().zip(0_i64..) {
            let insert = format!("INSERT INTO {{{word}}} (account, number) VALUES ($1, $2)");
            tx.execute(&insert, &values![event.aggregate_id, number]).await?;
            let changed = format!("UPDATE {{{word}}} SET number = {{{word}}}.number + 1 WHERE number = $1");
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
    for place in Place::all() {
        let stores = stores(&place).await;
        let bank: Running<Bank> = start(&stores, Runner::concurrent()).await;
        bank.accounts.open("Alice").await.expect("an account");
        bank.settled().await.expect("the read model follows");
        for (word, number) in WORDS.iter().zip(1_i64..) {
            let rows = bank.words.query(&format!("SELECT number FROM {{{word}}}"), &[]).await;
            let rows = rows.unwrap_or_else(|error| panic!("{word}: {error}"));
            assert_eq!(rows[0].get::<i64>("number").expect("a number"), number, "{word}");
        }
        let compared = bank.verify_contents().await.expect("it is built anew and compared");
        assert!(compared.iter().all(eventsourcing_core::system::ContentsVerification::agrees), "{compared:?}");
        bank.stop().await.expect("a graceful end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_test_are_all_that_postgresql_has() {
    let stores = stores(&Place::postgres()).await;
    let database = stores.store().database().expect("a database");
    let rows = database.query("SELECT word FROM pg_get_keywords()", &[]).await.expect("the words");
    let words: Vec<String> = rows.iter().map(|row| row.get("word").expect("a text")).collect();
    let missing: Vec<_> = words.iter().filter(|word| !WORDS.contains(&word.as_str())).collect();
    assert!(words.len() > 400 && missing.is_empty(), "{missing:?}");
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

            async fn project(&self, _: &Recorded<Account>, _: &mut Tx<'_>) -> Result<(), SqlError> {
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
    match eventsourcing_core::SystemBuilder::<S>::new(stores).start().await {
        Err(SystemError::Invalid { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("{what} is refused, but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_database_refuses_all_refuse_at_the_start() {
    for place in Place::all() {
        assert_refused::<BankOfTracking>(&place, "\"tracking\" is not a name for a table").await;
        assert_refused::<BankOfSqlites>(&place, "\"sqlite_balances\" is not a name for a table").await;
        assert_refused::<BankOfGenerations>(&place, "a generation of the table \"balances\" may be called").await;
        let bank: Running<EventSourcedBank> = start(&stores(&place).await, Runner::concurrent()).await;
        bank.accounts.open("Alice").await.expect("the bank itself starts");
        bank.stop().await.expect("a graceful end");
    }
}
