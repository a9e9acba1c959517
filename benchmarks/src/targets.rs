//! The targets of the figures: ratios between contestants of one run, and a few bounds.

use crate::contestants::{Entrant, Kind};
use crate::results::{Results, TrialResults};

/// A target for a figure.
pub struct Target {
    pub letter: &'static str,
    pub text: &'static str,
    pub at_least: f64,
    found: fn(&Results) -> Option<f64>,
}

/// The verdict about a target.
pub struct Verdict {
    pub found: Option<f64>,
    pub is_met: bool,
}

const fn target(
    letter: &'static str,
    text: &'static str,
    at_least: f64,
    found: fn(&Results) -> Option<f64>,
) -> Target {
    Target {
        letter,
        text,
        at_least,
        found,
    }
}

const PG: &str = "ours/postgres";
const SQLITE: &str = "ours/sqlite";
const MIB: f64 = 1024.0 * 1024.0;

/// Returns all targets. A target with an upper bound is stated as the bound divided by the figure.
pub const TARGETS: &[Target] = &[
    target("a", "PostgreSQL ÷ best peer", 2.3, |it| {
        over_best_peer(it, "a", PG)
    }),
    target("a", "SQLite ÷ raw", 0.9, |it| {
        ratio(it, ("a", SQLITE), ("a", "raw/sqlite"))
    }),
    target("b", "PostgreSQL ÷ best peer", 12.0, |it| {
        over_best_peer(it, "b", PG)
    }),
    target("b", "SQLite ÷ raw, one event a commit", 8.0, |it| {
        ratio(it, ("b", SQLITE), ("a", "raw/sqlite"))
    }),
    target("c", "PostgreSQL ÷ best peer", 12.0, |it| {
        over_best_peer(it, "c", PG)
    }),
    target("d", "PostgreSQL ÷ best peer", 2.0, |it| {
        over_best_peer(it, "d", PG)
    }),
    target("d", "PostgreSQL ÷ limit", 0.7, |it| {
        ratio(it, ("d", PG), ("d", "limit/postgres"))
    }),
    target("d", "SQLite ÷ limit", 0.6, |it| {
        ratio(it, ("d", SQLITE), ("d", "limit/sqlite"))
    }),
    target("d", "memory, events/s", 1_000_000.0, |it| {
        it.median("d", "ours/memory")
    }),
    target("e", "PostgreSQL ÷ best peer", 1.5, |it| {
        over_best_peer(it, "e", PG)
    }),
    target(
        "e",
        "SQLite ÷ best peer on PostgreSQL",
        500.0 / 350.0,
        |it| over_best_peer(it, "e", SQLITE),
    ),
    target("f", "PostgreSQL ÷ best peer that decodes", 1.1, |it| {
        over_best_peer(it, "f", PG)
    }),
    target("f", "PostgreSQL ÷ limit", 0.7, |it| {
        ratio(it, ("f", PG), ("f", "limit/postgres"))
    }),
    target("f", "SQLite ÷ limit", 0.7, |it| {
        ratio(it, ("f", SQLITE), ("f", "limit/sqlite"))
    }),
    target("f", "100 MiB ÷ peak memory, PostgreSQL", 1.0, |it| {
        room(it, PG)
    }),
    target("f", "100 MiB ÷ peak memory, SQLite", 1.0, |it| {
        room(it, SQLITE)
    }),
    target("g", "PostgreSQL ÷ its own b", 0.75, |it| {
        ratio(it, ("g", PG), ("b", PG))
    }),
    target("g", "SQLite, events/s", 30_000.0, |it| {
        it.median("g", SQLITE)
    }),
    target("h", "3 ms ÷ p50, PostgreSQL", 1.0, |it| {
        Some(3.0 / it.median("h", PG)?)
    }),
    target("h", "25 ms ÷ p99, PostgreSQL", 1.0, |it| {
        Some(25.0 / it.lane("h", PG)?.median_slowest()?)
    }),
    target("h", "1 ms ÷ p50, SQLite", 1.0, |it| {
        Some(1.0 / it.median("h", SQLITE)?)
    }),
    target("h", "10 ms ÷ p99, SQLite", 1.0, |it| {
        Some(10.0 / it.lane("h", SQLITE)?.median_slowest()?)
    }),
    target("i", "a, PostgreSQL, 10^7 ÷ 10^4", 0.75, |it| {
        grown(it, "a, ours/postgres")
    }),
    target("i", "b, PostgreSQL, 10^7 ÷ 10^4", 0.75, |it| {
        grown(it, "b, ours/postgres")
    }),
    target("i", "a, SQLite, 10^7 ÷ 10^4", 0.75, |it| {
        grown(it, "a, ours/sqlite")
    }),
    target("i", "b, SQLite, 10^7 ÷ 10^4", 0.75, |it| {
        grown(it, "b, ours/sqlite")
    }),
    target("j", "PostgreSQL, four processes ÷ one", 1.0, |it| {
        ratio(
            it,
            ("j", "ours/postgres, 4 processes"),
            ("j", "ours/postgres, 1 process"),
        )
    }),
    target("j", "SQLite, least share of a process", 0.5, |it| {
        it.lane("j", "ours/sqlite, 4 processes")?.least_share
    }),
];

impl Target {
    /// Returns the verdict of the results. A figure that was not measured does not meet the target.
    pub fn verdict(&self, results: &Results) -> Verdict {
        let found = (self.found)(results).filter(|found| found.is_finite());
        Verdict {
            found,
            is_met: found.is_some_and(|found| found >= self.at_least),
        }
    }
}

fn ratio(results: &Results, this: (&str, &str), that: (&str, &str)) -> Option<f64> {
    Some(results.median(this.0, this.1)? / results.median(that.0, that.1)?)
}

fn over_best_peer(results: &Results, letter: &str, label: &str) -> Option<f64> {
    Some(results.median(letter, label)? / best_peer(results.trial(letter)?)?)
}

fn best_peer(trial: &TrialResults) -> Option<f64> {
    let is_peer = |contestant: &str| {
        Entrant::named(contestant).is_some_and(|entrant| entrant.kind == Kind::Peer)
    };
    let peers = trial
        .lanes
        .iter()
        .filter(|lane| lane.out.is_none() && is_peer(&lane.contestant));
    peers.filter_map(|peer| peer.median()).reduce(f64::max)
}

fn grown(results: &Results, lane: &str) -> Option<f64> {
    ratio(
        results,
        ("i", &format!("{lane}, 10^7")),
        ("i", &format!("{lane}, 10^4")),
    )
}

fn room(results: &Results, label: &str) -> Option<f64> {
    Some(100.0 * MIB / results.lane("f", label)?.memory_bytes_max as f64)
}
