//! Events that stand where they cannot.

use super::*;

/// Aggregates whose fold changes the state at an unexpected event.
mod unexpected {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Door {
        openings: u32,
    }

    #[event]
    #[derive(Clone, Serialize, Deserialize)]
    pub(super) enum DoorEvent {
        Built,
        Opened,
    }

    impl Fold<DoorEvent> for Door {
        fn create(event: DoorEvent) -> Result<Self, UnexpectedEvent> {
            match event {
                DoorEvent::Built => Ok(Self { openings: 0 }),
                DoorEvent::Opened => Err(UnexpectedEvent),
            }
        }
        fn apply(&mut self, event: DoorEvent) -> Result<(), UnexpectedEvent> {
            self.openings += 1;
            match event {
                DoorEvent::Built => Err(UnexpectedEvent),
                DoorEvent::Opened => Ok(()),
            }
        }
    }

    /// No event comes first.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(event = DoorEvent)]
    pub(super) struct Wall {}

    impl Fold<DoorEvent> for Wall {
        fn create(_: DoorEvent) -> Result<Self, UnexpectedEvent> {
            Err(UnexpectedEvent)
        }
        fn apply(&mut self, _: DoorEvent) -> Result<(), UnexpectedEvent> {
            Ok(())
        }
    }
}

#[test]
fn an_unexpected_event_that_changes_the_state_is_found() {
    let message = broken(|| Laws::<unexpected::Door>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "the last of them is unexpected, but has changed the state from {\"openings\":0} to {\"openings\":1}",
            "\n  1 Built {}\n  2 Built {}\n",
            "return `UnexpectedEvent` before anything is changed",
        ],
    );
}

#[test]
fn what_nothing_creates_tests_nothing() {
    let message = broken(|| Laws::<unexpected::Wall>::new().replay_gives_what_was_recorded());
    assert_says(
        &message,
        &[
            "is not tested: no generated event creates a Wall",
            "`laws!(Wall, events = […])`",
        ],
    );
}
