//! Reports of a running system, as plain data for people and programs.
//!
//! These files depend on nothing but the store contract, so that each engine file can fill in a
//! report without an import cycle.

mod accepted_log;
mod build;
mod contents;
mod failure;
mod health;
mod parking;
mod verification;

pub use accepted_log::AcceptedLog;
pub use build::{RebuildProgress, RebuildState};
pub use contents::{ContentsVerification, RowDifference, TableDifference};
pub use failure::FollowerFailure;
pub use health::{FollowerHealth, FollowerState, Health, Holder, OnFailure};
pub use parking::{Parked, ParkingAction, ParkingRecord, Retried, TimerRecord};
pub(super) use verification::surplus;
pub use verification::{
    Difference, EventPlace, Finding, FollowerVerification, Verification, VerifyProgress,
};
