//! Comparing the rows of two generations of a table.

use crate::Table;
use crate::projection::table_of;
use crate::sql::{Database, Row, SqlError, Transaction, Value};
use crate::system::report::{RowDifference, TableDifference};

/// The number of differing rows that are reported for a table.
const ROWS_SHOWN_MAX: usize = 5;

/// The way by which the tables are read.
pub(super) enum Source<'a> {
    /// Statements outside a transaction: each sees the tables at a moment of its own.
    Database(&'a dyn Database),
    /// A transaction in which the tables do not change.
    Transaction(&'a mut dyn Transaction),
}

/// The result of comparing two generations of a table.
pub(super) struct Compared {
    /// The number of rows that readers see.
    pub(super) rows: u64,
    pub(super) difference: Option<TableDifference>,
}

impl Source<'_> {
    async fn query(&mut self, sql: &str) -> Result<Vec<Row>, SqlError> {
        match self {
            Self::Database(database) => database.query(sql, &[]).await,
            Self::Transaction(transaction) => transaction.query(sql, &[]).await,
        }
    }

    /// Compares a table as readers see it with another generation. The order of rows does not
    /// matter.
    pub(super) async fn compare(
        &mut self,
        table: &Table,
        live: u64,
        fresh: u64,
    ) -> Result<Compared, SqlError> {
        let name = table.name.to_owned();
        let live = table_of(table.name, live);
        let fresh = table_of(table.name, fresh);

        let rows = self
            .query(&format!("SELECT COUNT(*) AS number FROM {live}"))
            .await?;
        let rows = rows.first().map_or(Ok(0), |row| row.get("number"))?;
        let Some(columns) = self.columns(&live, &fresh).await? else {
            return Ok(Compared {
                rows,
                difference: None,
            });
        };
        let differing = self.query(&differing_rows(&columns, &live, &fresh)).await?;
        let Some(first) = differing.first() else {
            return Ok(Compared {
                rows,
                difference: None,
            });
        };
        let difference = TableDifference {
            table: name,
            rows: first.get("rows that differ")?,
            examples: differing
                .iter()
                .map(|row| example(row, columns.len()))
                .collect::<Result<_, _>>()?,
        };
        Ok(Compared {
            rows,
            difference: Some(difference),
        })
    }

    /// Returns the names of the columns, or `None` if neither table has a row.
    async fn columns(&mut self, live: &str, fresh: &str) -> Result<Option<Vec<String>>, SqlError> {
        for table in [live, fresh] {
            if let Some(row) = self
                .query(&format!("SELECT * FROM {table} LIMIT 1"))
                .await?
                .first()
            {
                return Ok(Some(row.columns().to_vec()));
            }
        }
        Ok(None)
    }
}

/// Returns a query for each row that one table has more often than the other, its count in both,
/// and the number of such rows.
///
/// The query counts instead of joining, because rows can be equal and columns NULL, and a join
/// finds neither.
fn differing_rows(columns: &[String], live: &str, fresh: &str) -> String {
    let quoted = |column: &String| format!("\"{}\"", column.replace('"', "\"\""));
    let columns = columns.iter().map(quoted).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {columns}, SUM(\"in live\") AS \"found\", SUM(\"in fresh\") AS \"expected\", \
                COUNT(*) OVER () AS \"rows that differ\" \
         FROM (SELECT {columns}, 1 AS \"in live\", 0 AS \"in fresh\" FROM {live} \
               UNION ALL SELECT {columns}, 0, 1 FROM {fresh}) AS both_of_them \
         GROUP BY {columns} HAVING SUM(\"in live\") <> SUM(\"in fresh\") \
         ORDER BY {columns} LIMIT {ROWS_SHOWN_MAX}"
    )
}

fn example(row: &Row, columns: usize) -> Result<RowDifference, SqlError> {
    let values = row
        .columns()
        .iter()
        .cloned()
        .zip(row.values().iter().cloned())
        .take(columns)
        .collect();
    let number = |index: usize| match row.values().get(columns + index) {
        Some(Value::Integer(number)) => Ok(number.unsigned_abs()),
        other => Err(SqlError::Column {
            column: row.columns()[columns].clone(),
            reason: format!("{other:?}"),
        }),
    };
    Ok(RowDifference {
        values,
        found: number(0)?,
        expected: number(1)?,
    })
}
