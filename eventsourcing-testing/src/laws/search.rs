//! [`search`]: tests a law with random histories, and looks for the shortest that breaks it.
//!
//! Every generated value is made of choices, of which 0 is the plainest. Shrinking therefore knows nothing of types: it leaves
//! out steps and choices and makes the others smaller, as long as the law is still broken.

use crate::Seed;

/// The number of histories that a law is tested with.
const CASES: u64 = 200;
/// The most histories that are tried to find the shortest that breaks the law.
const SHRINKS_MAX: usize = 4_000;
/// The longest history, in steps.
const STEPS_MAX: usize = 24;
const CHOICES_MAX: usize = 12;

/// One step of a history: the kind of event that is tried, and the choices it is made of.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: u16,
    pub(super) choices: Vec<u64>,
}

/// Returns the steps of a case. They follow from the seed and the number of the case.
pub(super) fn any_steps(seed: Seed, case: u64) -> Vec<Step> {
    let mut rng = seed.rng(1_000 + case);
    let step = |rng: &mut fastrand::Rng| Step {
        kind: rng.u16(..),
        choices: (0..rng.usize(..=CHOICES_MAX))
            .map(|_| rng.u16(..).into())
            .collect(),
    };
    (0..rng.usize(1..=STEPS_MAX))
        .map(|_| step(&mut rng))
        .collect()
}

/// Checks histories until one breaks the law.
///
/// # Errors
/// A history breaks the law: the message of the check about the shortest one found.
pub(super) fn search(
    seed: Seed,
    check: impl Fn(&[Step], u64) -> Result<(), String>,
) -> Result<(), String> {
    for case in 0..CASES {
        let steps = any_steps(seed, case);
        if let Err(message) = check(&steps, case) {
            return Err(shrink(steps, message, |steps| check(steps, case).err()));
        }
    }
    Ok(())
}

fn shrink(
    mut steps: Vec<Step>,
    mut message: String,
    breaks: impl Fn(&[Step]) -> Option<String>,
) -> String {
    let mut tries = 0..SHRINKS_MAX;
    loop {
        let mut tried = plainer(&steps).take_while(|_| tries.next().is_some());
        let broken = tried.find_map(|plainer| Some((breaks(&plainer)?, plainer)));
        drop(tried);
        match broken {
            Some(plainer) => (message, steps) = plainer,
            None => return message,
        }
    }
}

/// Returns candidates for shrinking. Each is strictly plainer than `steps`, so that repeated shrinking ends.
fn plainer(steps: &[Step]) -> impl Iterator<Item = Vec<Step>> {
    let halves = [steps.len() / 2]
        .into_iter()
        .filter(|half| *half > 0)
        .map(|half| steps[..half].to_vec());
    let without_one = (0..steps.len()).rev().map(|at| {
        let mut fewer = steps.to_vec();
        fewer.remove(at);
        fewer
    });
    let plainer_steps = (0..steps.len()).flat_map(move |at| {
        plainer_step(&steps[at]).into_iter().map(move |step| {
            let mut plainer = steps.to_vec();
            plainer[at] = step;
            plainer
        })
    });
    halves.chain(without_one).chain(plainer_steps)
}

fn plainer_step(step: &Step) -> Vec<Step> {
    let Step { kind, choices } = step;
    let mut plainer = Vec::new();
    for fewer in [0, choices.len() / 2, choices.len().saturating_sub(1)] {
        if fewer < choices.len() {
            plainer.push(Step {
                kind: *kind,
                choices: choices[..fewer].to_vec(),
            });
        }
    }
    for (at, choice) in choices.iter().enumerate() {
        for smaller in smaller(*choice) {
            let mut choices = choices.clone();
            choices[at] = smaller;
            plainer.push(Step {
                kind: *kind,
                choices,
            });
        }
    }
    plainer
}

/// Returns some numbers below this one, the smallest first. Its last four bits are shrunk apart from the others, because
/// [`ValueSource::whole`](super::generator::ValueSource::whole) uses them for sign and size.
fn smaller(choice: u64) -> impl Iterator<Item = u64> {
    let number = choice >> 4;
    let rest = choice & 15;

    let halves = (0..16)
        .map(move |bits| number >> bits)
        .take_while(|cut| *cut > 0);
    let numbers = halves.map(move |cut| (number - cut) << 4 | rest);
    let all = [0, choice & !15]
        .into_iter()
        .chain(numbers)
        .chain([choice.saturating_sub(1)]);
    all.filter(move |smaller| *smaller < choice)
}
