//! Commands on several aggregates beside commands on one, where all of them wait for one busy aggregate.

use contest::Outcome;

use crate::contestants::Database;
use crate::ours::Ours;
use crate::ours::busy::{self, TASKS};
use crate::places::Places;

/// `update_all` on pairs with one aggregate in common may take as many times as long as `update` of that aggregate.
const TIMES_MAX: f64 = 3.0;

/// Measures on every store, with command ids and without, and prints it.
///
/// # Errors
/// A command was given up, or `update_all` takes too long beside `update`.
pub fn run(places: &Places) -> Outcome<()> {
    println!("{TASKS} commands at once on one busy account, alone and in pairs");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut faults = Vec::new();
    for (name, database) in [
        ("memory", Database::Memory),
        ("sqlite", Database::Sqlite),
        ("postgres", Database::Postgres),
    ] {
        let place = places.make(database)?;
        for busy in runtime.block_on(measure(database, &place))? {
            println!("{name:8} {busy}");
            if busy.given_up > 0 {
                faults.push(format!("{name}: {} commands given up", busy.given_up));
            }
            if busy.times() > TIMES_MAX {
                let times = busy.times();
                faults.push(format!("{name}: update_all takes {times:.1} times as long"));
            }
        }
        places.remove(&place)?;
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("; ").into()),
    }
}

async fn measure(database: Database, place: &str) -> Outcome<Vec<busy::Busy>> {
    let ours = match database {
        Database::Memory => Ours::in_memory(),
        Database::Sqlite => Ours::on_sqlite(place).await?,
        Database::Postgres => Ours::on_postgres(place).await?,
    };
    let mut measured = Vec::new();
    for with_ids in [false, true] {
        measured.push(busy::measure(&ours, with_ids).await?);
    }
    Ok(measured)
}
