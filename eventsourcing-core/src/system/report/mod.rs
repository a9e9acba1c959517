//! Reports: what a running system says of itself, as plain data for people and programs.
//!
//! Nothing here works on anything; it takes from the contract of stores alone.

mod accepted_log;
mod build;
mod contents;
mod failure;
mod health;
mod parking;
mod verification;

pub use accepted_log::AcceptedLog;
pub use build::{BuildProgress, BuildState};
pub use contents::{ContentsVerification, RowDifference, TableDifference};
pub use failure::FollowerFailure;
pub use health::{FollowerHealth, FollowerState, Health, Holder, OnFailure};
pub use parking::{Parked, ParkingAction, ParkingRecord, Retried, TimerRecord};
pub(super) use verification::surplus;
pub use verification::{
    Difference, EventPlace, Finding, FollowerVerification, Verification, VerifyProgress,
};
