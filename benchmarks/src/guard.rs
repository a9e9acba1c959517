//! The guard against regressions: compares the framework with code written by hand, in a minute, and the ratios with the
//! committed ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contest::Outcome;

use crate::contestants::Database;
use crate::places::Places;
use crate::referee;
use crate::report::number;
use crate::results::Results;
use crate::trials::{self, Pace};

/// The compared workloads: cached commands, grouped commands, appends, and loads.
const LETTERS: [&str; 4] = ["a", "b", "d", "e"];
const PACE: Pace = Pace {
    rounds: 3,
    seconds: 0.7,
};
/// The smallest accepted share of the committed ratio. Other load on the machine changes a ratio by less.
const SHARE_MIN: f64 = 2.0 / 3.0;

/// The most measurements of a workload whose ratio has fallen. A regression shows in each of them, other load on the machine
/// does not.
const TRIES: u32 = 3;

/// The framework divided by code written by hand, by workload and database, such as `b/sqlite`.
type Ratios = BTreeMap<String, f64>;

/// Measures the ratios and compares them with the committed ones; with `write`, writes them to the file instead.
///
/// # Errors
/// A ratio has fallen by more than a third.
pub fn run(write: bool) -> Outcome<()> {
    let places = Places::open()?;
    let mut measured = measure(&LETTERS, &places)?;
    if write {
        return Ok(std::fs::write(
            file(),
            serde_json::to_string_pretty(&measured)? + "\n",
        )?);
    }
    let committed: Ratios = serde_json::from_slice(&std::fs::read(file())?)?;
    for _ in 1..TRIES {
        let again = letters_of_fallen(&committed, &measured);
        for (name, ratio) in measure(&again, &places)? {
            measured
                .entry(name)
                .and_modify(|best| *best = best.max(ratio));
        }
    }
    let fallen: Vec<_> = measured
        .iter()
        .filter(|(name, ratio)| has_fallen(&committed, name, **ratio))
        .collect();
    for (name, ratio) in &measured {
        let before = committed
            .get(name)
            .copied()
            .map_or_else(|| "new".to_owned(), number);
        println!(
            "{name:12} ours ÷ raw {:>6}  committed {before:>6}",
            number(*ratio)
        );
    }
    match fallen.as_slice() {
        [] => Ok(()),
        fallen => Err(format!(
            "{} ratios have fallen by more than a third: {}; if that is meant, commit what `guard --write` writes",
            fallen.len(),
            fallen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        )
        .into()),
    }
}

fn has_fallen(committed: &Ratios, name: &str, ratio: f64) -> bool {
    committed
        .get(name)
        .is_some_and(|before| ratio < before * SHARE_MIN)
}

fn letters_of_fallen(committed: &Ratios, measured: &Ratios) -> Vec<&'static str> {
    let fallen: Vec<_> = measured
        .iter()
        .filter(|(name, ratio)| has_fallen(committed, name, **ratio))
        .collect();
    LETTERS
        .into_iter()
        .filter(|letter| fallen.iter().any(|(name, _)| name.starts_with(letter)))
        .collect()
}

fn measure(letters: &[&'static str], places: &Places) -> Outcome<Ratios> {
    let mut results = Results::default();
    for letter in letters {
        let mut trial = trials::trial(letter, PACE).ok_or("there is such a workload")?;
        trial.lanes.retain(|lane| {
            ["ours/sqlite", "raw/sqlite", "ours/postgres", "raw/postgres"].contains(&&*lane.label)
        });
        results.put(referee::run(&trial, PACE, places)?);
    }
    let pairs = letters.iter().flat_map(|letter| {
        [Database::Sqlite, Database::Postgres].map(|database| (*letter, database))
    });
    pairs
        .map(|(letter, database)| ratio(&results, letter, database))
        .collect()
}

fn ratio(results: &Results, letter: &str, database: Database) -> Outcome<(String, f64)> {
    let place = if database == Database::Sqlite {
        "sqlite"
    } else {
        "postgres"
    };
    let median = |who: &str| {
        let lane = results
            .lane(letter, &format!("{who}/{place}"))
            .ok_or("everybody takes part")?;
        lane.median().ok_or_else(|| {
            format!(
                "{who}/{place} in {letter}: {}",
                lane.out.as_deref().unwrap_or("no turn")
            )
        })
    };
    Ok((
        format!("{letter}/{place}"),
        median("ours")? / median("raw")?,
    ))
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guard.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_falls_by_a_third_before_it_counts() {
        let committed = Ratios::from([("a/sqlite".to_owned(), 0.9)]);
        assert!(!has_fallen(&committed, "a/sqlite", 0.61));
        assert!(has_fallen(&committed, "a/sqlite", 0.59));
        assert!(!has_fallen(&committed, "new", 0.1));
    }
}
