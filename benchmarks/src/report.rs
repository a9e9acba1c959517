//! The results as a page of Markdown: the targets, then a table for each workload.

use std::fmt::Write as _;

use crate::contestants::{Database, Entrant, Kind};
use crate::results::{Figures, Results, TrialResults};
use crate::targets::{TARGETS, Verdict};

/// Returns the page.
pub fn page(results: &Results) -> String {
    let tables: String = results.trials.iter().map(table).collect();
    format!(
        "# Results\n\nMedians of all rounds; how to read them stands in [the README](../README.md). Figures of one machine mean \
         little elsewhere: compare ratios.\n\n![Chart](chart.svg)\n\n## What they are to show\n\n{}{tables}",
        targets(results)
    )
}

/// Returns the table of the targets with their verdicts.
pub fn targets(results: &Results) -> String {
    let mut text = "| | what | at least | found | |\n|---|---|---:|---:|---|\n".to_owned();
    for target in TARGETS {
        let verdict = target.verdict(results);
        let found = verdict
            .found
            .map_or_else(|| "not measured".to_owned(), number);
        let word = match verdict {
            Verdict { found: None, .. } => "",
            Verdict { is_met: true, .. } => "met",
            Verdict { is_met: false, .. } => "**missed**",
        };
        let letter = target.letter;
        let what = target.text;
        let least = number(target.at_least);

        let _ = writeln!(text, "| {letter} | {what} | {least} | {found} | {word} |");
    }
    text
}

fn table(trial: &TrialResults) -> String {
    let mut text = format!("\n## {}. {}\n\n", trial.letter, trial.title);
    let latencies = trial.lanes.iter().any(|lane| !lane.slowest.is_empty());
    text.push_str(match latencies {
        true => "| contestant | p50, ms | spread | p99, ms |\n|---|---:|---:|---:|\n",
        false => "| contestant | events/s | spread | ours ÷ this | peak memory |\n|---|---:|---:|---:|---:|\n",
    });
    for lane in &trial.lanes {
        let row = if latencies {
            latency_row(lane)
        } else {
            rate_row(lane, trial)
        };
        text.push_str(&row);
    }
    let outs = trial
        .lanes
        .iter()
        .filter_map(|lane| Some((&lane.label, lane.out.as_ref()?)));
    for (label, reason) in outs {
        let _ = write!(text, "\n{label} is out: {reason}\n");
    }
    text
}

fn rate_row(lane: &Figures, trial: &TrialResults) -> String {
    let Some(median) = lane.median() else {
        return String::new();
    };
    let ours = trial
        .lanes
        .iter()
        .find(|other| is_our_own(other, lane))
        .and_then(Figures::median);
    let ratio = ours.map_or_else(String::new, |ours| number(ours / median));
    let mib = lane.memory_bytes_max / (1024 * 1024);
    format!(
        "| {} | {} | {} | {ratio} | {mib} MiB |\n",
        lane.label,
        number(median),
        spread(lane)
    )
}

fn latency_row(lane: &Figures) -> String {
    let Some(median) = lane.median() else {
        return String::new();
    };
    let Some(slowest) = lane.median_slowest() else {
        return String::new();
    };
    format!(
        "| {} | {} | {} | {} |\n",
        lane.label,
        number(median),
        spread(lane),
        number(slowest)
    )
}

/// Returns the distance of the turns from the median.
fn spread(lane: &Figures) -> String {
    match (lane.range(), lane.median()) {
        (Some((lowest, highest)), Some(median)) => {
            let percent = |figure: f64| (figure / median - 1.0) * 100.0;
            format!("{:+.0} … {:+.0} %", percent(lowest), percent(highest))
        }
        _ => String::new(),
    }
}

/// Returns `true` if `ours` is the framework on the same database as `lane`.
fn is_our_own(ours: &Figures, lane: &Figures) -> bool {
    let database =
        |figures: &Figures| Entrant::named(&figures.contestant).map(|entrant| entrant.database);
    let is_ours =
        Entrant::named(&ours.contestant).is_some_and(|entrant| entrant.kind == Kind::Ours);
    is_ours
        && ours.label == ours.contestant
        && database(ours) == database(lane)
        && database(lane) != Some(Database::Memory)
}

/// Formats a number with three significant digits or with commas: `12,345`, `1.23`.
pub fn number(figure: f64) -> String {
    match figure {
        _ if figure >= 100.0 => commas(figure.round() as u64),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn commas(figure: u64) -> String {
    let digits = figure.to_string();
    let groups = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!(
            ["1,234,568", "999", "12.3", "0.75"],
            [1_234_567.8, 999.4, 12.34, 0.75].map(number)
        );
    }
}
