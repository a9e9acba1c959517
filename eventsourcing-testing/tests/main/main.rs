//! The test kit tested: it notices what it is there to notice, and passes what is sound. `broken_stores` does the same for the
//! conformance suite, in a process of its own because stores that dawdle on purpose want the time to themselves.

mod contract_page;
mod crash;
mod faulty_store;
mod laws;
mod seeds_and_clocks;
