//! A fold that depends on more than the state and the event.

use super::*;

/// A fold that looks at the clock, to the nanosecond or to the second.
macro_rules! clock {
    ($module:ident $per_tick:literal) => {
        mod $module {
            use super::*;

            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Watch {
                at: u64,
            }

            #[event]
            impl Watch {
                fn wound() -> Self {
                    Self {
                        at: (now() / $per_tick) as u64,
                    }
                }
            }
        }
    };
}
clock!(fine 1);
clock!(coarse 1_000_000_000);

#[test]
fn a_fold_that_reads_the_clock_is_found() {
    let message = broken(|| Laws::<fine::Watch>::new().replay_gives_what_was_recorded());
    assert_says(
        &message,
        &[
            "Watch breaks the law that replay gives what was recorded: the state that recorded them is {\"at\":",
            "and the state replayed is {\"at\":",
            "\n  1 Wound {}\n",
            "no clock, no randomness",
        ],
    );
}

#[test]
fn a_fold_that_reads_a_clock_of_seconds_is_found() {
    let message = broken(|| Laws::<coarse::Watch>::new().replay_gives_what_was_recorded());
    assert_says(
        &message,
        &[
            "Watch breaks the law that replay gives what was recorded",
            "{\"at\":",
            "no clock",
            "EVENTSOURCING_TEST_SEED=",
        ],
    );
}

/// A value that the event does not store cannot be replayed.
mod forgetful_event {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Shop {
        takings: u32,
    }

    #[event]
    impl Shop {
        fn opened() -> Self {
            Self { takings: 0 }
        }
        fn sold(&mut self, #[serde(skip)] price: u32) {
            self.takings += price;
        }
    }

    impl Shop {
        pub(super) fn sell(&self, price: u16) -> ShopEvent {
            ShopEvent::Sold {
                price: price.into(),
            }
        }
    }
}

#[test]
fn an_event_that_forgets_a_field_is_found() {
    use forgetful_event::Shop;
    let message = broken(|| {
        Laws::<Shop>::new()
            .with_decision(Shop::sell)
            .replay_gives_what_was_recorded();
    });
    assert_says(
        &message,
        &[
            "replay gives what was recorded",
            "the state replayed is {\"takings\":0}",
            "2 Sold {}",
        ],
    );
}
