//! Proof that acknowledged appends survive `kill -9` and crashes of a server: P2, P6, P20 and P27.
//!
//! The conformance suite runs in the process of the store, so it cannot show this. A store has two tests of its own. One is the
//! child: it opens the place that a variable names and calls [`write_until_killed`]; without the variable it does nothing. The
//! other one lets [`run_and_kill`] start the first in a process and kill it, opens the place and lets [`Acknowledged::check`]
//! look at what is left, many times in one place.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use eventsourcing_core::store::MemoryStore;
//! # async fn open(_place: &str) -> MemoryStore { MemoryStore::new() }
//! use eventsourcing_testing::Seed;
//! use eventsourcing_testing::crash::{Acknowledged, Kill, run_and_kill, this_test, write_until_killed};
//!
//! // #[tokio::test(flavor = "multi_thread")]
//! async fn child_writes_until_it_is_killed() {
//!     if let Ok(place) = std::env::var("MY_STORE_TEST_PLACE") {
//!         write_until_killed(open(&place).await).await;
//!     }
//! }
//!
//! // #[tokio::test]
//! async fn acknowledged_appends_survive_kill_9() {
//!     let seed = Seed::from_env();
//!     let mut random = seed.rng(0);
//!     let mut acknowledged = Acknowledged::default();
//!     for round in 0..80 {
//!         let mut child = this_test("child_writes_until_it_is_killed");
//!         let kill = Kill::at_random(&mut random, Duration::from_millis(80));
//!         acknowledged.extend(run_and_kill(child.env("MY_STORE_TEST_PLACE", "a path or URL"), kill));
//!         acknowledged.check(&open("a path or URL").await, &format!("round {round}, {seed}")).await;
//!     }
//! }
//! ```

mod check;
mod child;
mod writer;

pub use check::Acknowledged;
pub use child::{Kill, run_and_kill, this_test};
pub use writer::{Acknowledgement, Writer, write_until_killed};
