//! [`System`]: applications and their followers, declared once, run inline or concurrently.

mod builder;
mod error;
mod follower;
mod graph;
mod health;
mod import_guard;
mod known_followers;
mod leasing;
pub(crate) mod notes;
mod parking;
mod part_name;
mod read_model;
mod report;
mod restored_log;
mod resume;
mod runner;
mod running_system;
mod settings;
mod stores;
pub(crate) mod transferable;
mod verify;
mod waiting;
mod wiring;

pub(crate) use follower::{EventFilter, StepFailure};

pub use builder::SystemBuilder;
pub use error::SystemError;
pub use follower::{Follower, PolicyFollower, ProjectionFollower, SqlProjectionFollower};
pub use graph::{ApplicationDefinition, Definition, FollowerDefinition, FollowerKind, Follows};
pub use parking::{ParkedTimer, Parking};
pub use part_name::{ApplicationName, FollowerName, PolicyName, ProjectionName};
pub use read_model::Rebuild;
pub use report::{
    AcceptedLog, ContentsVerification, Difference, EventPlace, Finding, FollowerFailure,
    FollowerHealth, FollowerState, FollowerVerification, Health, Holder, OnFailure, Parked,
    ParkingAction, ParkingRecord, RebuildProgress, RebuildState, Retried, RowDifference,
    TableDifference, TimerRecord, Verification, VerifyProgress,
};
pub use runner::Runner;
pub use running_system::RunningSystem;
pub use stores::{Applications, Stores};
pub use waiting::DEFAULT_TIMEOUT;

/// Applications and the followers between them. Written by
/// [`#[derive(System)]`](macro@crate::System).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a system",
    label = "derive `System` for `{Self}`"
)]
pub trait System: Sized + Send + Sync + 'static {
    /// Returns the parts of the system.
    fn definition() -> Definition;

    /// Builds the services from their applications.
    fn assemble(applications: &Applications) -> Self;

    /// Returns the policies and projections of the definition, tied to their types.
    fn followers() -> Vec<Follower<Self>>;
}

fn unknown_application(definition: &Definition, name: &str) -> SystemError {
    let known: Vec<_> = definition
        .applications
        .iter()
        .map(|application| application.name)
        .collect();
    SystemError::UnknownApplication {
        system: definition.name,
        application: name.to_owned(),
        known: known.join(", "),
    }
}

fn unknown_follower(definition: &Definition, name: &str) -> SystemError {
    let known: Vec<_> = definition
        .followers
        .iter()
        .map(|follower| follower.name)
        .collect();
    SystemError::UnknownFollower {
        system: definition.name,
        follower: name.to_owned(),
        known: known.join(", "),
    }
}
