//! [`Acknowledged`]: the accidents that an acknowledged append survives, for people who want to
//! know before one happens.

use std::fmt;

/// The accidents that an acknowledged append survives. A store never claims more than it knows; the
/// text says in one line how to survive more. Ordered from the least to the most.
///
/// ```
/// use eventsourcing_core::store::{Acknowledged, EventStore, MemoryStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let acknowledged = MemoryStore::new().acknowledged().await.unwrap();
/// assert_eq!(acknowledged, Acknowledged::InMemory);
/// assert!(!acknowledged.survives_loss_of_machine());
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Acknowledged {
    /// The store does not say.
    Unknown,
    /// No accident: the append is in the memory of this process, and lost when the process ends.
    InMemory,
    /// The end of this process. The append is written by one machine, perhaps not yet to its disk,
    /// so a power cut may lose it.
    Written {
        /// The setting that makes an append wait for the disk.
        remedy: String,
    },
    /// A power cut too: the append is on the disk of one machine, as far as that disk keeps what it
    /// has confirmed. It is lost with the machine.
    OnDisk {
        /// The way to store it on a second machine.
        remedy: String,
    },
    /// The loss of the machine too: a synchronous standby also has the append.
    OnStandbys {
        /// The standbys, as they are configured.
        standbys: String,
        /// `true` if an append waits until it is on their disks, `false` if it waits only until
        /// they have it in memory: then a power cut that takes all machines at once loses more on
        /// the standbys than on the primary.
        flushed: bool,
    },
}

impl Acknowledged {
    /// Returns `true` if an acknowledged append is known to survive the loss of the machine that
    /// wrote it, because it is also on the disk of another one.
    #[must_use]
    pub fn survives_loss_of_machine(&self) -> bool {
        matches!(self, Self::OnStandbys { flushed: true, .. })
    }
}

/// One sentence, with the remedy if there is one.
impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("the store does not say what an acknowledged event survives; see its documentation")
            }
            Self::InMemory => f.write_str(
                "in the memory of one process, and lost when it ends; use a store in a file or on a server to keep it",
            ),
            Self::Written { remedy } => write!(
                f,
                "written by one machine, perhaps not yet to its disk: a crash of the machine or of its database server may \
                 lose the last events; {remedy}"
            ),
            Self::OnDisk { remedy } => write!(f, "on the disk of one machine, and lost with that machine; {remedy}"),
            Self::OnStandbys { standbys, flushed: true } => write!(
                f,
                "on the disks of one machine and of its synchronous standbys ({standbys}): it survives the loss of the machine"
            ),
            Self::OnStandbys { standbys, flushed: false } => write!(
                f,
                "on the disk of one machine, and in the memory of its synchronous standbys ({standbys}): it is lost with the \
                 machine if they crash too; have appends wait until it is on the standbys' disks"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> [Acknowledged; 6] {
        let remedy = || "set it".to_owned();
        let on_standbys = |flushed| Acknowledged::OnStandbys {
            standbys: "ANY 1 (a, b)".to_owned(),
            flushed,
        };
        [
            Acknowledged::Unknown,
            Acknowledged::InMemory,
            Acknowledged::Written { remedy: remedy() },
            Acknowledged::OnDisk { remedy: remedy() },
            on_standbys(false),
            on_standbys(true),
        ]
    }

    #[test]
    fn only_what_is_on_the_disks_of_two_machines_survives_the_loss_of_one() {
        let survives: Vec<_> = each()
            .iter()
            .map(Acknowledged::survives_loss_of_machine)
            .collect();
        assert_eq!(survives, [false, false, false, false, false, true]);
        assert!(each().is_sorted(), "from the least to the most");
    }

    #[test]
    fn text_is_one_line_that_says_what_to_do_for_more() {
        for acknowledged in each() {
            let text = acknowledged.to_string();
            assert!(
                !text.contains('\n') && !text.contains("  ") && !text.ends_with('.'),
                "{text}"
            );
            assert_eq!(
                text.contains("; "),
                !acknowledged.survives_loss_of_machine(),
                "{text}"
            );
        }
    }
}
