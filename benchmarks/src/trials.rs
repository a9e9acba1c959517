//! The trials: ten workloads, each with the contestants that can run it.

use contest::Workload;

use crate::contestants::{Database, ENTRANTS, Entrant, Kind};

/// The number of accounts that tasks share in b, j and others.
const ACCOUNTS: u64 = 1_000;
const TASKS: u64 = 64;
/// The number of events of the log that is read.
const LOG_EVENTS: u64 = 1_000_000;
/// The number of events that a ledger catches up with.
const PIPELINE_EVENTS: u64 = 100_000;

/// The numbers of events in the store at the start.
const SIZES: [(&str, u64); 3] = [("10^4", 10_000), ("10^6", 1_000_000), ("10^7", 10_000_000)];

/// The rounds and the length of turns.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The number of turns of each contestant.
    pub rounds: u32,
    /// The length of a turn that has no end of its own.
    pub seconds: f64,
}

/// A workload and its contestants.
pub struct Trial {
    pub letter: &'static str,
    pub title: String,
    pub lanes: Vec<Lane>,
    pub unit: Unit,
}

/// The unit of the figures of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    EventsPerSecond,
    Milliseconds,
}

/// A contestant in a trial.
pub struct Lane {
    pub label: String,
    pub entrant: Entrant,
    /// The number of processes that work at the same time.
    pub processes: u32,
    /// The task that is done once at the start and not measured.
    pub before: Option<Workload>,
    /// The replacement of `before` for a contestant that cannot do it.
    pub before_instead: Option<Workload>,
    /// The measured task of each process and round.
    pub workload: Box<dyn Fn(u32, u32) -> Workload>,
    /// `true` if each round needs a new place and a new process.
    pub fresh: bool,
}

impl Lane {
    fn new(entrant: Entrant, workload: impl Fn(u32, u32) -> Workload + 'static) -> Self {
        Self {
            label: entrant.name.to_owned(),
            entrant,
            processes: 1,
            before: None,
            before_instead: None,
            workload: Box::new(workload),
            fresh: false,
        }
    }
}

/// The letters of the trials with their titles.
pub const LETTERS: &[(&str, &str)] = &[
    (
        "a",
        "command (load, decide, append one event), 1 task over 100 accounts",
    ),
    ("b", "the same, 64 tasks over 1,000 accounts"),
    ("c", "the same, 512 tasks, Zipf over 100,000 accounts"),
    ("d", "appends of 100 events, 1 task"),
    ("e", "rebuild an aggregate of 10,000 events"),
    ("f", "read a log of 1,000,000 events and decode them"),
    (
        "g",
        "ledger pipeline: events through a policy with an aggregate, exactly once",
    ),
    (
        "h",
        "latency from the command's return to the follower at 200 events/s",
    ),
    (
        "i",
        "a and b with 10,000, 1,000,000 and 10,000,000 events in the store",
    ),
    ("j", "64 tasks in one process and in four"),
];

/// Returns the trial of a letter; `None` if there is no such letter.
pub fn trial(letter: &str, pace: Pace) -> Option<Trial> {
    let &(letter, title) = LETTERS.iter().find(|(known, _)| *known == letter)?;
    let Pace { seconds, .. } = pace;
    let lanes = match letter {
        "a" => lanes(|_| true, move |_| commands("a", 1, 100, false, seconds)),
        "b" => lanes(
            |_| true,
            move |_| commands("b", TASKS, ACCOUNTS, false, seconds),
        ),
        "c" => lanes(is_on(Database::Postgres), move |_| {
            commands("c", 512, 100_000, true, seconds)
        }),
        "d" => long_appends(seconds),
        "e" => lanes(
            |_| true,
            move |_| Workload::Rebuild {
                events: 10_000,
                seconds,
            },
        ),
        "f" => logs(),
        "g" => pipelines(),
        "h" => fresh(lanes(is_ours, |_| Workload::Follow {
            per_second: 200,
            seconds: 5.0,
        })),
        "i" => sizes(seconds),
        _ => processes(seconds),
    };
    let unit = if letter == "h" {
        Unit::Milliseconds
    } else {
        Unit::EventsPerSecond
    };
    Some(Trial {
        letter,
        title: title.to_owned(),
        lanes,
        unit,
    })
}

fn lanes(
    takes_part: impl Fn(&Entrant) -> bool,
    workload: impl Fn(u32) -> Workload + Clone + 'static,
) -> Vec<Lane> {
    let entrants = ENTRANTS.iter().copied().filter(takes_part);
    let lane = |entrant| {
        let workload = workload.clone();
        Lane::new(entrant, move |_, round| workload(round))
    };
    entrants.map(lane).collect()
}

fn is_on(database: Database) -> impl Fn(&Entrant) -> bool {
    move |entrant| entrant.database == database
}

fn is_ours(entrant: &Entrant) -> bool {
    entrant.kind == Kind::Ours
}

fn commands(group: &str, tasks: u64, accounts: u64, zipf: bool, seconds: f64) -> Workload {
    Workload::Commands {
        tasks,
        accounts,
        zipf,
        group: group.to_owned(),
        seconds,
    }
}

fn appends(round: u32, seconds: f64) -> Workload {
    Workload::Appends {
        events: 100,
        group: format!("appends/{round}"),
        seconds,
    }
}

/// Returns the lanes of long appends. A store in memory starts empty in each round; otherwise the last rounds would measure the
/// allocation of memory.
fn long_appends(seconds: f64) -> Vec<Lane> {
    let mut lanes = lanes(|_| true, move |round| appends(round, seconds));
    lanes
        .iter_mut()
        .for_each(|lane| lane.fresh = lane.entrant.database == Database::Memory);
    lanes
}

fn logs() -> Vec<Lane> {
    let mut lanes = lanes(|_| true, |_| Workload::ReadLog);
    for lane in &mut lanes {
        lane.before = Some(Workload::Fill {
            accounts: LOG_EVENTS / 100,
            events: LOG_EVENTS,
        });
        lane.before_instead = Some(appends(0, 8.0));
    }
    lanes
}

fn pipelines() -> Vec<Lane> {
    fresh(lanes(is_ours, |_| Workload::Pipeline {
        events: PIPELINE_EVENTS,
    }))
}

fn fresh(mut lanes: Vec<Lane>) -> Vec<Lane> {
    lanes.iter_mut().for_each(|lane| lane.fresh = true);
    lanes
}

fn sizes(seconds: f64) -> Vec<Lane> {
    let durable = ENTRANTS
        .iter()
        .filter(|entrant| is_ours(entrant) && entrant.database != Database::Memory);
    let sized = durable.flat_map(|entrant| SIZES.map(|(size, events)| (*entrant, size, events)));
    let lanes = sized.flat_map(|(entrant, size, events)| {
        let workloads = [("a", 1, 100), ("b", TASKS, ACCOUNTS)];
        workloads.map(|(letter, tasks, accounts)| {
            let mut lane = Lane::new(entrant, move |_, _| {
                commands(letter, tasks, accounts, false, seconds)
            });
            lane.label = format!("{letter}, {}, {size}", entrant.name);
            lane.before = Some(Workload::Fill {
                accounts: events / 100,
                events,
            });
            lane
        })
    });
    lanes.collect()
}

fn processes(seconds: f64) -> Vec<Lane> {
    let durable = ENTRANTS
        .iter()
        .filter(|entrant| is_ours(entrant) && entrant.database != Database::Memory);
    let split = durable.flat_map(|entrant| [1, 4].map(|processes| (*entrant, processes)));
    let lane = |(entrant, processes): (Entrant, u32)| {
        let each = u64::from(processes);
        let mut lane = Lane::new(entrant, move |process, _| {
            commands(
                &format!("j/{process}"),
                TASKS / each,
                ACCOUNTS / each,
                false,
                seconds,
            )
        });
        lane.label = format!(
            "{}, {processes} process{}",
            entrant.name,
            if processes == 1 { "" } else { "es" }
        );
        lane.processes = processes;
        lane
    };
    split.map(lane).collect()
}
