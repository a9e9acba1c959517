//! P32: the statements that every database understands, and their results.

use eventsourcing_core::sql::{Row, SqlError, Transaction, Value};
use eventsourcing_core::store::FollowerStore;
use eventsourcing_core::values;

use super::FollowerFixture;
use super::transactions::{begin, carry_out, commit, database_of};

async fn execute(transaction: &mut dyn Transaction, sql: &str, values: &[Value]) -> u64 {
    transaction
        .execute(sql, values)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn query(store: &impl FollowerStore, sql: &str, values: &[Value]) -> Vec<Row> {
    database_of(store)
        .query(sql, values)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Returns the only row of the result.
async fn query_one(store: &impl FollowerStore, sql: &str, values: &[Value]) -> Row {
    let mut rows = query(store, sql, values).await;
    assert_eq!(rows.len(), 1, "{sql}: one row");
    rows.remove(0)
}

fn is_statement(error: &SqlError, wanted: &str) -> bool {
    matches!(error, SqlError::Statement { sql, reason, .. } if sql == wanted && !reason.is_empty())
}

const KINDS: &str = "CREATE TABLE kinds (id BIGINT PRIMARY KEY, whole BIGINT, fraction DOUBLE PRECISION, words TEXT, bytes BYTEA)";
const INSERT: &str =
    "INSERT INTO kinds (id, whole, fraction, words, bytes) VALUES ($1, $2, $3, $4, $5)";

/// P32: Values of every kind come back as they were: the largest and smallest, every Unicode plane, a megabyte.
pub async fn values_of_every_kind_come_back_unchanged<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    carry_out(&store, &[KINDS]).await;
    let every_plane: String = (0..=16)
        .filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x1234))
        .collect();
    let bytes: Vec<u8> = (0..=255).cycle().take(2 * 1024 * 1024).collect();
    let numbers = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1];
    let fractions = [
        0.0,
        1.0,
        0.1,
        -1.5e-300,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
    ];
    let texts = [
        "",
        " 007 ",
        "'; drop table kinds; --",
        "$1 ?1 :a %_\\",
        "1e3",
        &every_plane,
        &"n".repeat(2_000_000),
    ];
    let blobs = [
        &[][..],
        &[0],
        b"text",
        b"\\x00",
        &[0xff, 0xfe, 0x00, 0xc3, 0x28],
        b"12",
        &bytes,
    ];
    let mut transaction = begin(&store).await;
    let mut expected = Vec::new();
    for (id, number) in (0_i64..).zip(numbers) {
        let index = expected.len();
        let row = values![id, number, fractions[index], texts[index], blobs[index]];
        assert_eq!(execute(&mut *transaction, INSERT, &row).await, 1);
        expected.push(row.to_vec());
    }
    let inside = transaction
        .query("SELECT * FROM kinds ORDER BY id", &[])
        .await
        .expect("the table can be read");
    commit(transaction).await;
    let outside = query(
        &fixture.open().await,
        "SELECT * FROM kinds ORDER BY id",
        &[],
    )
    .await;
    for found in [inside, outside] {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(
                found.columns(),
                ["id", "whole", "fraction", "words", "bytes"]
            );
            assert!(
                found.values() == expected,
                "the values of row {:?} have changed",
                found.values()[0]
            );
        }
    }
    for (column, values) in [("whole", 1), ("fraction", 2), ("words", 3), ("bytes", 4)] {
        for row in &expected {
            let sql = format!("SELECT id FROM kinds WHERE {column} = $1");
            assert_eq!(
                query_one(&store, &sql, &[row[values].clone()])
                    .await
                    .values(),
                [row[0].clone()],
                "{column}"
            );
        }
    }
}

/// P32: Columns of every type store and return NULL. Counts and truth values are integers.
pub async fn nothing_goes_into_and_comes_out_of_every_column<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    carry_out(&store, &[KINDS]).await;
    let mut transaction = begin(&store).await;
    let nothing = values![
        1_i64,
        None::<i64>,
        None::<f64>,
        None::<&str>,
        None::<Vec<u8>>
    ];
    execute(&mut *transaction, INSERT, &nothing).await;
    execute(
        &mut *transaction,
        INSERT,
        &values![2_i64, 7_i64, 0.5, "seven", &b"7"[..]],
    )
    .await;
    let update = "UPDATE kinds SET whole = $2, fraction = $3, words = $4, bytes = $5 WHERE id = $1";
    assert_eq!(
        execute(
            &mut *transaction,
            update,
            &[
                2_i64.into(),
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null
            ]
        )
        .await,
        1
    );
    commit(transaction).await;
    for id in [1_i64, 2] {
        let row = query_one(
            &store,
            "SELECT whole, fraction, words, bytes FROM kinds WHERE id = $1",
            &values![id],
        )
        .await;
        assert_eq!(
            row.values(),
            [Value::Null, Value::Null, Value::Null, Value::Null],
            "row {id}"
        );
        assert_eq!(
            row.get::<Option<String>>("words")
                .expect("it may be nothing"),
            None
        );
        assert!(
            matches!(row.get::<String>("words"), Err(SqlError::Column { .. })),
            "nothing is no text"
        );
    }
    let counted = query_one(
        &store,
        "SELECT COUNT(*) AS rows_found, 1 < 2 AS truth, NULL AS nil FROM kinds",
        &[],
    )
    .await;
    assert_eq!(counted.columns(), ["rows_found", "truth", "nil"]);
    assert_eq!(
        counted.values(),
        [Value::Integer(2), Value::Integer(1), Value::Null]
    );
    assert_eq!(
        query(&store, "SELECT id FROM kinds WHERE words IS NOT NULL", &[]).await,
        []
    );
}

/// P32: Parameters are bound by their numbers: in any order, and any number of times.
pub async fn parameters_go_where_their_numbers_stand<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    carry_out(
        &store,
        &["CREATE TABLE words (id BIGINT PRIMARY KEY, one TEXT, two TEXT, three TEXT)"],
    )
    .await;
    let mut transaction = begin(&store).await;
    let insert = "INSERT INTO words (three, id, two, one) VALUES ($2, $3, $1, $2)";
    execute(&mut *transaction, insert, &values!["b", "a", 1_i64]).await;
    let many = "INSERT INTO words (id, one, two, three) VALUES ($11, $1, $2, $10)";
    let many = format!("{many}, ($12, $3 || $4 || $5, $6 || $7 || $8, $9)");
    let values = values![
        "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", 2_i64, 3_i64
    ];
    assert_eq!(execute(&mut *transaction, &many, &values).await, 2);
    commit(transaction).await;
    let words = async |id: i64| {
        let row = query_one(
            &store,
            "SELECT * FROM words WHERE id = $1 AND $1 = id",
            &values![id],
        )
        .await;
        ["one", "two", "three"].map(|column| row.get::<String>(column).expect("a text"))
    };
    assert_eq!(words(1).await, ["a", "b", "a"]);
    assert_eq!(words(2).await, ["1", "2", "10"]);
    assert_eq!(words(3).await, ["345", "678", "9"]);
}

/// P32: Statements return the number of changed rows: inserts, updates, deletes, and inserts that turn into updates.
pub async fn statements_say_how_many_rows_they_changed<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    carry_out(
        &store,
        &["CREATE TABLE counts (id TEXT PRIMARY KEY, count BIGINT NOT NULL)"],
    )
    .await;
    let mut transaction = begin(&store).await;
    let upsert = "INSERT INTO counts (id, count) VALUES ($1, $2)
        ON CONFLICT (id) DO UPDATE SET count = counts.count + excluded.count";
    for _ in 0..3 {
        assert_eq!(
            execute(&mut *transaction, upsert, &values!["a", 2_i64]).await,
            1
        );
        assert_eq!(
            execute(&mut *transaction, upsert, &values!["b", 5_i64]).await,
            1
        );
    }
    let ignored = "INSERT INTO counts (id, count) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    assert_eq!(
        execute(&mut *transaction, ignored, &values!["a", 2_i64]).await,
        0
    );
    assert_eq!(
        execute(
            &mut *transaction,
            "UPDATE counts SET count = count + 1",
            &[]
        )
        .await,
        2
    );
    assert_eq!(
        execute(
            &mut *transaction,
            "UPDATE counts SET count = 0 WHERE id = $1",
            &values!["c"]
        )
        .await,
        0
    );
    assert_eq!(
        execute(
            &mut *transaction,
            "DELETE FROM counts WHERE id = $1",
            &values!["b"]
        )
        .await,
        1
    );
    let returning =
        "INSERT INTO counts (id, count) VALUES ($1, $2) RETURNING id, count + 1 AS next";
    let returned = transaction
        .query(returning, &values!["d", 1_i64])
        .await
        .expect("it returns rows");
    assert_eq!(returned.len(), 1);
    assert_eq!(returned[0].get::<i64>("next").expect("a number"), 2);
    commit(transaction).await;
    let rows = query(&store, "SELECT id, count FROM counts ORDER BY id", &[]).await;
    let rows: Vec<_> = rows.iter().map(Row::values).collect();
    assert_eq!(rows, [&values!["a", 7_i64][..], &values!["d", 1_i64][..]]);
}

/// P32: A statement that the database refuses is named in the error and changes nothing, and the database remains usable.
pub async fn refused_statement_is_named_and_changes_nothing<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    carry_out(
        &store,
        &["CREATE TABLE things (id BIGINT PRIMARY KEY, words TEXT NOT NULL)"],
    )
    .await;
    let insert = "INSERT INTO things (id, words) VALUES ($1, $2)";
    for (sql, values) in [
        (
            "INSERT INTO no_such_table (id) VALUES ($1)",
            &values![1_i64][..],
        ),
        (
            "INSERT INTO things (no_such_column) VALUES ($1)",
            &values![1_i64],
        ),
        ("INSERT things INTO", &[]),
        (insert, &values![1_i64, "again"]),
        (insert, &values![2_i64, None::<String>]),
        (insert, &values![2_i64]),
        (insert, &values![2_i64, "two", "three"]),
        (
            "INSERT INTO things (id, words) VALUES (2, 'a'); INSERT INTO things (id, words) VALUES (3, 'b')",
            &[],
        ),
    ] {
        let mut transaction = begin(&store).await;
        execute(&mut *transaction, insert, &values![1_i64, "first"]).await;
        let error = transaction.execute(sql, values).await.expect_err(sql);
        assert!(is_statement(&error, sql), "{sql}: {error:?}");
        drop(transaction);
    }
    let mut transaction = begin(&store).await;
    let missing = "SELECT * FROM no_such_table";
    let error = transaction
        .query(missing, &[])
        .await
        .expect_err("there is no such table");
    assert!(is_statement(&error, missing), "{error:?}");
    drop(transaction);
    let delete = "DELETE FROM things";
    for sql in [
        missing,
        "SELECT FROM WHERE",
        delete,
        "SELECT id FROM things WHERE id = $1",
    ] {
        let error = database_of(&store).query(sql, &[]).await.expect_err(sql);
        assert!(is_statement(&error, sql), "{sql}: {error:?}");
    }
    assert_eq!(
        query(&store, "SELECT * FROM things", &[]).await,
        [],
        "nothing may be written"
    );

    let mut transaction = begin(&store).await;
    execute(&mut *transaction, insert, &values![1_i64, "first"]).await;
    commit(transaction).await;
    database_of(&store)
        .query(delete, &[])
        .await
        .expect_err("queries outside of transactions only read");
    assert_eq!(query(&store, "SELECT * FROM things", &[]).await.len(), 1);
}

/// P32: Tables, views and indexes are created, changed and dropped within the transaction, and rolled back with it.
pub async fn tables_views_and_indexes_belong_to_the_transaction<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    let make = [
        "CREATE TABLE IF NOT EXISTS entries (account TEXT NOT NULL, amount BIGINT NOT NULL)",
        "CREATE INDEX entries_account ON entries (account)",
        "CREATE VIEW totals AS SELECT account, CAST(SUM(amount) AS BIGINT) AS total FROM entries GROUP BY account",
    ];
    let totals = "SELECT account, total FROM totals ORDER BY account";
    let fill = "INSERT INTO entries (account, amount) VALUES ('Ada', 1), ('Bob', 5), ('Ada', 2)";
    let mut undone = begin(&store).await;
    for sql in make.iter().chain([&fill]) {
        execute(&mut *undone, sql, &[]).await;
    }
    assert_eq!(
        undone
            .query(totals, &[])
            .await
            .expect("it is there within the transaction")
            .len(),
        2
    );
    drop(undone);
    assert!(
        database_of(&other).query(totals, &[]).await.is_err(),
        "the view was undone"
    );

    carry_out(&store, &make).await;
    carry_out(&other, &[fill]).await;
    let rows = query(&store, totals, &[]).await;
    let rows: Vec<_> = rows.iter().map(Row::values).collect();
    assert_eq!(
        rows,
        [&values!["Ada", 3_i64][..], &values!["Bob", 5_i64][..]]
    );

    let mut undone = begin(&store).await;
    for sql in ["DROP VIEW totals", "DROP TABLE entries"] {
        execute(&mut *undone, sql, &[]).await;
    }
    drop(undone);
    assert_eq!(
        query(&store, totals, &[]).await.len(),
        2,
        "nothing was dropped"
    );
    let change = [
        "DROP VIEW totals",
        "DROP INDEX entries_account",
        "ALTER TABLE entries ADD COLUMN words TEXT",
    ];
    carry_out(&store, &change).await;
    for store in [&store, &other] {
        assert_eq!(
            query(store, "SELECT * FROM entries", &[]).await[0].columns(),
            ["account", "amount", "words"]
        );
        assert!(
            database_of(store).query(totals, &[]).await.is_err(),
            "the view is gone"
        );
    }
    carry_out(&other, &["DROP TABLE entries"]).await;
    assert!(
        database_of(&store)
            .query("SELECT * FROM entries", &[])
            .await
            .is_err(),
        "the table is gone"
    );
}
