//! Runs a trial: gives each contestant a turn, round by round, and records the figures.

use std::collections::HashMap;
use std::time::Duration;

use contest::{Measured, Outcome};
use indicatif::{ProgressBar, ProgressStyle};

use crate::places::Places;
use crate::results::{Figures, TrialResults};
use crate::trials::{Lane, Pace, Trial, Unit};
use crate::worker::Worker;

/// Runs `trial`. A contestant that fails is left out, and the reason is recorded.
///
/// # Errors
/// The place of a contestant cannot be made.
pub fn run(trial: &Trial, pace: Pace, places: &Places) -> Outcome<TrialResults> {
    let progress = progress(trial, pace);
    let mut grounds = Grounds {
        places,
        made: HashMap::new(),
    };
    let mut stands: Vec<Stand<'_>> = trial.lanes.iter().map(Stand::new).collect();
    for round in 0..=pace.rounds {
        // The order rotates, so that no contestant always runs after the same one.
        let count = stands.len();
        stands.rotate_left(usize::from(count > 0));
        for stand in &mut stands {
            progress.set_message(format!(
                "{} · {} · {}",
                trial.letter,
                round_name(round, pace),
                stand.lane.label
            ));
            stand.take_turn(round, trial.unit, &mut grounds)?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let results = trial.lanes.iter().filter_map(|lane| {
        let stand = stands
            .iter_mut()
            .find(|stand| std::ptr::eq(stand.lane, lane))?;
        stand.workers.clear();
        stand.figures(trial.unit)
    });
    let results = TrialResults {
        letter: trial.letter.to_owned(),
        title: trial.title.clone(),
        lanes: results.collect(),
    };
    drop(stands);
    grounds.clear()?;
    Ok(results)
}

fn round_name(round: u32, pace: Pace) -> String {
    match round {
        0 => "warming up".to_owned(),
        _ => format!("round {round} of {}", pace.rounds),
    }
}

fn progress(trial: &Trial, pace: Pace) -> ProgressBar {
    let turns = u64::from(pace.rounds + 1) * trial.lanes.len() as u64;
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {wide_msg}");
    let progress = ProgressBar::new(turns).with_style(style.expect("the template is right"));
    progress.enable_steady_tick(Duration::from_millis(500));
    progress
}

/// The places of a trial. Lanes of one contestant that begin with the same events share one.
struct Grounds<'a> {
    places: &'a Places,
    made: HashMap<String, String>,
}

impl Grounds<'_> {
    /// Returns the place of a lane, and `true` if it is new.
    fn of(&mut self, lane: &Lane) -> Outcome<(String, bool)> {
        let key = match &lane.before {
            Some(before) => format!("{} {before:?}", lane.entrant.name),
            None => lane.label.clone(),
        };
        if let Some(place) = self.made.get(&key).filter(|_| !lane.fresh) {
            return Ok((place.clone(), false));
        }
        let place = self.places.make(lane.entrant.database)?;
        if let Some(left) = self.made.insert(key, place.clone()) {
            self.places.remove(&left)?;
        }
        Ok((place, true))
    }

    fn clear(self) -> Outcome<()> {
        self.made
            .values()
            .try_for_each(|place| self.places.remove(place))
    }
}

/// A lane with its processes and their figures.
struct Stand<'a> {
    lane: &'a Lane,
    workers: Vec<Worker>,
    turns: Vec<Measured>,
    out: Option<String>,
}

impl<'a> Stand<'a> {
    fn new(lane: &'a Lane) -> Self {
        Self {
            lane,
            workers: Vec::new(),
            turns: Vec::new(),
            out: None,
        }
    }

    /// Runs a turn. Round 0 warms up and is not counted.
    fn take_turn(&mut self, round: u32, unit: Unit, grounds: &mut Grounds<'_>) -> Outcome<()> {
        if self.out.is_some() {
            return Ok(());
        }
        if self.workers.is_empty() || self.lane.fresh {
            self.workers.clear();
            let (place, is_new) = grounds.of(self.lane)?;
            if let Err(error) = self.enter(&place, is_new, grounds.places) {
                self.out = Some(error.to_string());
                return Ok(());
            }
        }
        match self.work(round) {
            Ok(Some(measured)) if round > 0 || unit == Unit::Milliseconds => {
                self.turns.push(measured)
            }
            Ok(Some(_)) => {}
            Ok(None) => self.out = Some("has nothing for it".to_owned()),
            Err(error) => self.out = Some(error.to_string()),
        }
        Ok(())
    }

    /// Runs the task before the trial in a process of its own, so that its memory is not counted.
    fn enter(&mut self, place: &str, is_new: bool, places: &Places) -> Outcome<()> {
        let in_memory = place.is_empty();
        if is_new && !in_memory {
            self.prepare(&mut Worker::start(self.lane.entrant, place)?)?;
            places.settle()?;
        }
        for _ in 0..self.lane.processes {
            self.workers.push(Worker::start(self.lane.entrant, place)?);
        }
        if in_memory && let Some(worker) = self.workers.first_mut() {
            prepare(self.lane, worker)?;
        }
        Ok(())
    }

    fn prepare(&self, worker: &mut Worker) -> Outcome<()> {
        prepare(self.lane, worker)
    }

    fn work(&mut self, round: u32) -> Outcome<Option<Measured>> {
        for (process, worker) in (0..).zip(&mut self.workers) {
            worker.begin(&(self.lane.workload)(process, round))?;
        }
        let ended: Outcome<Vec<_>> = self.workers.iter_mut().map(Worker::end).collect();
        let ended: Vec<Measured> = ended?.into_iter().flatten().collect();
        Ok(together(ended))
    }

    fn figures(&self, unit: Unit) -> Option<Figures> {
        match &self.out {
            Some(reason) if self.turns.is_empty() && reason == "has nothing for it" => None,
            out => Some(Figures::new(self.lane, unit, &self.turns, out.clone())),
        }
    }
}

fn prepare(lane: &Lane, worker: &mut Worker) -> Outcome<()> {
    let Some(before) = &lane.before else {
        return Ok(());
    };
    let done = worker.run(before)?;
    if let (None, Some(instead)) = (done, &lane.before_instead) {
        worker.run(instead)?;
    }
    Ok(())
}

/// Returns the sum of the processes' figures; `None` if none did anything.
fn together(ended: Vec<Measured>) -> Option<Measured> {
    let events = ended.iter().map(|part| part.events).sum::<u64>();
    let least = ended.iter().map(|part| part.events).min()?;
    let fair = events as f64 / ended.len() as f64;
    let least_share = (ended.len() > 1).then(|| least as f64 / fair);
    let within = ended.iter().map(|part| part.within).max()?;
    let memory_bytes_max = ended.iter().map(|part| part.memory_bytes_max).max()?;
    let latencies = ended.into_iter().flat_map(|part| part.latencies).collect();
    let sum = Measured {
        events,
        within,
        latencies: Vec::new(),
        least_share,
        memory_bytes_max,
    };
    Some(sum.with_latencies(latencies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_did_is_added_up_over_the_longest_time() {
        let parts = vec![
            Measured::new(10, Duration::from_secs(1)),
            Measured::new(20, Duration::from_secs(2)),
        ];
        let sum = together(parts).expect("two have worked");
        assert_eq!((sum.events, sum.within), (30, Duration::from_secs(2)));
        assert_eq!(sum.least_share, Some(10.0 / 15.0));
        assert!(together(Vec::new()).is_none());
    }
}
