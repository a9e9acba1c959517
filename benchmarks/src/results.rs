//! The measured figures, stored as JSON, so that one trial can be run again without the others.

use std::path::Path;

use contest::{Measured, Outcome};
use serde::{Deserialize, Serialize};

use crate::trials::{Lane, Unit};

/// All trials, in the order of their letters.
#[derive(Default, Serialize, Deserialize)]
pub struct Results {
    pub trials: Vec<TrialResults>,
}

/// The results of a trial.
#[derive(Serialize, Deserialize)]
pub struct TrialResults {
    pub letter: String,
    pub title: String,
    pub lanes: Vec<Figures>,
}

/// The results of a contestant.
#[derive(Clone, Serialize, Deserialize)]
pub struct Figures {
    pub label: String,
    pub contestant: String,
    /// The figure of each turn: events per second, or milliseconds.
    pub turns: Vec<f64>,
    /// The 99th percentile of latencies by turn, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<f64>,
    pub memory_bytes_max: u64,
    /// The smallest part of its fair share that a process had in any turn, if several processes worked at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_share: Option<f64>,
    /// The reason that the contestant is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
}

impl Figures {
    pub fn new(lane: &Lane, unit: Unit, turns: &[Measured], out: Option<String>) -> Self {
        let quantile = |turn: &Measured, share| {
            turn.quantile(share)
                .map_or(f64::NAN, |it| it.as_secs_f64() * 1_000.0)
        };
        let (figures, slowest) = match unit {
            Unit::EventsPerSecond => (turns.iter().map(Measured::rate).collect(), Vec::new()),
            Unit::Milliseconds => (
                turns.iter().map(|turn| quantile(turn, 0.5)).collect(),
                turns.iter().map(|turn| quantile(turn, 0.99)).collect(),
            ),
        };
        let memory_bytes_max = turns
            .iter()
            .map(|turn| turn.memory_bytes_max)
            .max()
            .unwrap_or_default();
        let least_share = turns
            .iter()
            .filter_map(|turn| turn.least_share)
            .reduce(f64::min);
        let label = lane.label.clone();
        let contestant = lane.entrant.name.to_owned();

        Self {
            label,
            contestant,
            turns: figures,
            slowest,
            memory_bytes_max,
            least_share,
            out,
        }
    }

    /// Returns the median of all turns; `None` without turns.
    pub fn median(&self) -> Option<f64> {
        median(&self.turns)
    }

    /// Returns the lowest and the highest turn.
    pub fn range(&self) -> Option<(f64, f64)> {
        let lowest = self.turns.iter().copied().reduce(f64::min)?;
        Some((lowest, self.turns.iter().copied().reduce(f64::max)?))
    }

    /// Returns the median of the 99th percentiles.
    pub fn median_slowest(&self) -> Option<f64> {
        median(&self.slowest)
    }
}

fn median(turns: &[f64]) -> Option<f64> {
    let mut sorted = turns.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

impl Results {
    /// Reads the stored results; there are none without the file.
    ///
    /// # Errors
    /// The file does not hold results.
    pub fn read(path: &Path) -> Outcome<Self> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Outcome<()> {
        Ok(std::fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }

    /// Replaces the results of an earlier run of the trial.
    pub fn put(&mut self, trial: TrialResults) {
        self.trials.retain(|known| known.letter != trial.letter);
        self.trials.push(trial);
        self.trials
            .sort_by(|one, other| one.letter.cmp(&other.letter));
    }

    /// Returns the results of a lane of a trial.
    pub fn lane(&self, letter: &str, label: &str) -> Option<&Figures> {
        self.trial(letter)?
            .lanes
            .iter()
            .find(|lane| lane.label == label)
    }

    /// Returns the median of a lane.
    pub fn median(&self, letter: &str, label: &str) -> Option<f64> {
        self.lane(letter, label)?.median()
    }

    pub fn trial(&self, letter: &str) -> Option<&TrialResults> {
        self.trials.iter().find(|trial| trial.letter == letter)
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
