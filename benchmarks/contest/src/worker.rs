//! A worker: a program with contestants in it. The referee writes one [`Order`] a line to its standard input; it writes one [`Answer`]
//! a line to its standard output.

use std::io::{BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{Contestant, Measured, Outcome, Workload};

/// A request to a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Become this contestant at this place, and create the tables or files that it needs if they are missing.
    Enter {
        /// The contestant.
        contestant: String,
        /// The address of a database, or the path of a file.
        place: String,
    },
    /// Do this.
    Run(Workload),
}

/// An answer of a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The contestant is there.
    Entered,
    /// The workload has been run. `None`: the contestant has nothing for it.
    Ran(Option<Measured>),
    /// It could not be done.
    Failed(String),
}

/// Carries out orders until there are no more. `enter` makes the contestant of a name at a place.
///
/// # Errors
/// Orders that cannot be read, answers that cannot be written.
pub fn work<F>(enter: impl Fn(String, String) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Contestant>>>,
{
    let runtime = Runtime::new()?;
    let mut present: Option<Arc<dyn Contestant>> = None;
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(async {
            match (order, &present) {
                (Order::Enter { contestant, place }, _) => {
                    present = Some(enter(contestant, place).await?);
                    Ok(Answer::Entered)
                }
                (Order::Run(workload), Some(contestant)) => {
                    // As a task, like everything in a server: a runtime's main future wakes another thread with every step.
                    let contestant = Arc::clone(contestant);
                    tokio::spawn(async move { workload.run(contestant).await })
                        .await?
                        .map(Answer::Ran)
                }
                (Order::Run(_), None) => Err("nobody has entered".into()),
            }
        });
        answer_with(&answer.unwrap_or_else(|error| Answer::Failed(chain(&*error))))?;
    }
    Ok(())
}

fn answer_with(answer: &Answer) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// An error and its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
