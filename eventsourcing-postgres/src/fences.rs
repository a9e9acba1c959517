//! The conclusions that may be drawn about the log: up to which position everything that will ever appear is visible.
//!
//! # The problem
//!
//! A position is drawn before its event is visible, and appends end in another order than they began. A reader may see
//! 101 while 100 is still on its way; if it remembers 101, it never sees 100. Or 100 was drawn by an append that
//! failed, and never comes: waiting for it would be waiting forever. From the outside the two look alike.
//!
//! # What makes them different
//!
//! Every append holds the appender lock, shared, from before it draws its first position until its end is visible
//! (`append()` and a trigger in `schema/1.sql`). So every transaction that may still add an event is in the list of the
//! lock's holders.
//!
//! A reader keeps a *ceiling*: everything up to it is decided. To raise it,
//!
//! 1. one statement looks at the events that are visible after the ceiling. Up to the first missing number, no further
//!    event can appear: the ceiling follows at once.
//! 2. If a number is missing, a *later* statement lists the holders of the lock. That is a fence: the highest position
//!    V of step 1, and the holders H.
//! 3. Each later list strikes from H every holder that is no longer in it.
//! 4. When H is empty everything up to V is decided; a statement that begins now shows all of it.
//!
//! # Why that is right
//!
//! V was visible in step 1. A sequence without a cache hands out numbers in order, so every number below V had been drawn
//! before V was, by a transaction that held the lock when it drew. When the list of step 2 was made that transaction held
//! the lock still, and is in H, or it had ended. PostgreSQL lets go of a transaction's locks only after its end has
//! become visible to new snapshots. So a statement that begins when every member of H has gone sees each event below V
//! that was committed, and the others never will be. Clocks and timeouts prove nothing here, and are not used.
//!
//! A savepoint that is rolled back gives up its lock and its events together. A transaction that is *prepared* keeps its
//! lock under another name: so when a holder has gone and a prepared transaction is there that was not before, the fence
//! takes it for the same one. A list can strike only what was in H before the list was begun, also where H has grown by
//! such a transaction; readers share their fences, and a number says which came first.
//!
//! A fence is independent of other transactions: reports, dumps and other databases delay no reader. Several fences
//! stand at the same time, each with a higher V; so the delay is that of the longest append under way, however many
//! numbers are missing and however many appends follow.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventsourcing_core::store::Position;

/// More fences than this do not raise the ceiling any sooner.
const FENCES_MAX: usize = 256;
/// An append that holds back the log for longer than this is named in the program's log.
const HELD_BACK_NOTED: Duration = Duration::from_secs(5);

/// A transaction that holds the appender lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    /// The server process, or nothing for a prepared transaction.
    pub(crate) process: Option<i32>,
    /// The virtual transaction. Together with the process it identifies this very transaction.
    pub(crate) transaction: String,
}

/// The ceiling of a store and the fences beyond it. This type does no I/O.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    decided: Position,
    /// Counts the changes of the fences, so that a list of holders is never taken for a later one.
    moment: u64,
    standing: VecDeque<Fence>,
}

/// Nothing new can appear up to `highest` once all `holders` have gone.
#[derive(Clone, Debug)]
struct Fence {
    highest: Position,
    holders: Arc<HashSet<Holder>>,
    made: u64,
    since: Instant,
    noted: bool,
}

/// A list of holders that has been requested. Dropping it changes nothing.
#[derive(Debug)]
pub(crate) struct Probe {
    begun: u64,
    decided: Position,
    highest: Position,
    standing: Vec<Fence>,
}

impl Fences {
    /// Returns the ceiling: everything up to it has appeared or never will.
    pub(crate) fn decided(&self) -> Position {
        self.decided
    }

    /// Returns `true` if events may be hidden behind a hole.
    pub(crate) fn is_holding_back(&self) -> bool {
        !self.standing.is_empty()
    }

    /// Records that a statement has seen every number between a decided position and `run_end`.
    pub(crate) fn advance(&mut self, run_end: Position) {
        self.decided = self.decided.max(run_end);
        let decided = self.decided;
        self.standing.retain(|fence| fence.highest > decided);
    }

    /// Begins a list of holders: to be called after a statement has seen `highest`, and before the statement that lists
    /// the holders is sent.
    pub(crate) fn begin(&mut self, highest: Position) -> Probe {
        self.moment += 1;
        let standing = self.standing.iter().cloned().collect();
        Probe {
            begun: self.moment,
            decided: self.decided,
            highest,
            standing,
        }
    }

    /// Applies the list, and returns the position up to which a statement that began after the list sees everything.
    ///
    /// This may be lower than [`decided`](Self::decided): other lists, made meanwhile, may be later than the caller's
    /// statement.
    pub(crate) fn settle(&mut self, probe: Probe, holders: &[Holder]) -> Position {
        let Probe { begun, highest, .. } = probe;
        let mut ceiling = probe.decided;
        for mut fence in probe.standing {
            fence.strike(holders);
            if fence.is_down() {
                ceiling = ceiling.max(fence.highest);
            }
        }
        if holders.is_empty() {
            ceiling = ceiling.max(highest);
        }
        let now = self.moment;
        for fence in self.standing.iter_mut().filter(|fence| fence.made < begun) {
            if fence.strike(holders) {
                fence.made = now;
            }
        }
        let down = self
            .standing
            .iter()
            .filter(|fence| fence.is_down())
            .map(|fence| fence.highest);
        let down = down.max().unwrap_or_default();
        self.advance(ceiling.max(down));
        self.stand(highest, holders);
        ceiling
    }

    /// Returns the transactions that have held back the log for long, once for each fence.
    pub(crate) fn note_stuck(&mut self, now: Instant) -> Option<(Duration, Vec<Holder>)> {
        let oldest = self.standing.front_mut()?;
        let age = now.saturating_duration_since(oldest.since);
        if oldest.noted || age < HELD_BACK_NOTED {
            return None;
        }
        oldest.noted = true;
        Some((age, oldest.holders.iter().cloned().collect()))
    }

    fn stand(&mut self, highest: Position, holders: &[Holder]) {
        let beyond = self
            .standing
            .back()
            .map_or(self.decided, |last| last.highest);
        if highest <= beyond || self.standing.len() >= FENCES_MAX {
            return;
        }
        self.moment += 1;
        let holders = Arc::new(holders.iter().cloned().collect());
        self.standing.push_back(Fence {
            highest,
            holders,
            made: self.moment,
            since: Instant::now(),
            noted: false,
        });
    }
}

impl Fence {
    fn is_down(&self) -> bool {
        self.holders.is_empty()
    }

    /// Strikes each holder that is not among `present`. If one has gone, a new prepared transaction may be its
    /// continuation.
    ///
    /// Returns `true` if a prepared transaction has joined the fence. A list that was begun before that does not know
    /// it, and must not strike it.
    fn strike(&mut self, present: &[Holder]) -> bool {
        let mut left: HashSet<_> = present
            .iter()
            .filter(|holder| self.holders.contains(*holder))
            .cloned()
            .collect();
        if left.len() == self.holders.len() {
            return false;
        }
        let before = left.len();
        left.extend(
            present
                .iter()
                .filter(|holder| holder.process.is_none())
                .cloned(),
        );
        let has_grown = left.len() > before;
        self.holders = Arc::new(left);
        has_grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    fn holder(process: i32) -> Holder {
        Holder {
            process: Some(process),
            transaction: format!("{process}/1"),
        }
    }

    fn prepared(transaction: u32) -> Holder {
        Holder {
            process: None,
            transaction: format!("-1/{transaction}"),
        }
    }

    /// Looks at the log with `highest` and then at `holders`.
    fn look(fences: &mut Fences, highest: u64, holders: &[Holder]) -> Position {
        let probe = fences.begin(at(highest));
        fences.settle(probe, holders)
    }

    #[test]
    fn run_without_a_hole_is_decided_at_once() {
        let mut fences = Fences::default();
        fences.advance(at(7));
        assert_eq!((fences.decided(), fences.is_holding_back()), (at(7), false));
        fences.advance(at(3));
        assert_eq!(fences.decided(), at(7), "the ceiling never goes back");
    }

    #[test]
    fn hole_without_lock_holders_is_decided_at_once() {
        let mut fences = Fences::default();
        assert_eq!(look(&mut fences, 9, &[]), at(9));
        assert_eq!((fences.decided(), fences.is_holding_back()), (at(9), false));
    }

    #[test]
    fn hole_is_decided_when_all_who_could_fill_it_have_gone() {
        let mut fences = Fences::default();
        let a = holder(1);
        let b = holder(2);
        let c = holder(3);

        assert_eq!(look(&mut fences, 9, &[a.clone(), b.clone()]), at(0));
        assert_eq!(
            look(&mut fences, 9, &[b.clone(), c.clone()]),
            at(0),
            "b holds on"
        );
        assert_eq!(
            look(&mut fences, 9, &[c]),
            at(9),
            "who came later does not matter"
        );
    }

    #[test]
    fn delay_is_that_of_the_longest_append_also_when_new_ones_always_follow() {
        let mut fences = Fences::default();
        for round in 1..100_u64 {
            // Each append lasts three rounds, and one begins in each round.
            let holders: Vec<_> = (round..round + 3)
                .map(|process| holder(process as i32))
                .collect();
            let ceiling = look(&mut fences, round * 10, &holders);
            assert_eq!(ceiling, at(round.saturating_sub(3) * 10), "round {round}");
        }
    }

    #[test]
    fn next_transaction_of_the_same_process_is_another_holder() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1)]);
        let next = Holder {
            transaction: "1/2".to_owned(),
            ..holder(1)
        };
        assert_eq!(look(&mut fences, 9, &[next]), at(9));
    }

    #[test]
    fn transaction_that_is_prepared_meanwhile_is_waited_for() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1)]);
        assert_eq!(
            look(&mut fences, 9, &[prepared(700)]),
            at(0),
            "the append goes on under another name"
        );
        assert_eq!(look(&mut fences, 9, &[prepared(700), prepared(701)]), at(0));
        assert_eq!(
            look(&mut fences, 9, &[prepared(701)]),
            at(0),
            "a prepared transaction that appeared when a holder left may be that holder"
        );
        assert_eq!(look(&mut fences, 9, &[]), at(9));
    }

    #[test]
    fn list_that_was_begun_before_the_fence_strikes_no_holder() {
        let mut fences = Fences::default();
        let early = fences.begin(at(5));
        look(&mut fences, 9, &[holder(2)]);
        assert_eq!(
            fences.settle(early, &[]),
            at(5),
            "the early list knows nothing of positions beyond 5"
        );
        assert_eq!(
            fences.decided(),
            at(5),
            "process 2 may have come after the early list was made"
        );
        assert!(fences.is_holding_back());
        assert_eq!(look(&mut fences, 9, &[]), at(9));
    }

    #[test]
    fn list_that_was_begun_before_a_prepared_transaction_joined_the_fence_does_not_strike_it() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1)]);
        let before = fences.begin(at(9));
        let after = fences.begin(at(9));
        assert_eq!(
            fences.settle(after, &[prepared(700)]),
            at(0),
            "process 1 has prepared its transaction"
        );
        assert_eq!(
            fences.settle(before, &[holder(1)]),
            at(0),
            "this list was made before it did"
        );
        assert_eq!(
            fences.decided(),
            at(0),
            "the prepared transaction may still be committed"
        );
        assert_eq!(look(&mut fences, 9, &[]), at(9));
    }

    #[test]
    fn early_list_still_strikes_a_holder_that_was_there_from_the_beginning() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1), holder(2)]);
        let early = fences.begin(at(9));
        assert_eq!(look(&mut fences, 9, &[holder(1)]), at(0));
        assert_eq!(
            fences.settle(early, &[holder(2)]),
            at(0),
            "process 1 has ended, by the earlier list"
        );
        assert_eq!(fences.decided(), at(9), "both have ended");
    }

    #[test]
    fn results_of_later_lists_are_not_promised_to_an_earlier_statement() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1)]);
        let mine = fences.begin(at(9));
        assert_eq!(
            look(&mut fences, 12, &[]),
            at(12),
            "another reader, with a later list"
        );
        assert_eq!(
            fences.settle(mine, &[holder(1)]),
            at(0),
            "my statement may have begun before process 1 ended"
        );
        assert_eq!(fences.decided(), at(12));
    }

    #[test]
    fn number_of_fences_is_bounded_and_the_log_moves_on() {
        let mut fences = Fences::default();
        for round in 1..1_000 {
            look(&mut fences, round, &[holder(1)]);
        }
        assert!(fences.standing.len() <= FENCES_MAX);
        look(&mut fences, 10_000, &[holder(2)]);
        look(&mut fences, 10_000, &[]);
        assert_eq!(fences.decided(), at(10_000));
    }

    #[test]
    fn transactions_that_hold_back_the_log_for_long_are_named_once() {
        let mut fences = Fences::default();
        look(&mut fences, 9, &[holder(1)]);
        assert!(
            fences.note_stuck(Instant::now()).is_none(),
            "not for long yet"
        );
        let later = Instant::now() + HELD_BACK_NOTED * 2;
        assert_eq!(
            fences.note_stuck(later).map(|(_, holders)| holders),
            Some(vec![holder(1)])
        );
        assert!(fences.note_stuck(later).is_none());
    }
}
