//! A fold or a decision that panics, and decisions that test nothing.

use super::*;

/// A jar whose fold cannot take more beans than there are.
mod jar {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(crate) struct Jar {
        pub(crate) beans: u32,
    }

    #[event]
    impl Jar {
        fn filled(beans: u32) -> Self {
            Self { beans }
        }
        fn taken(&mut self, beans: u32) {
            self.beans = self.beans.checked_sub(beans).expect("there are as many");
        }
    }

    impl Jar {
        pub(crate) fn take(&self, beans: u32) -> Result<JarEvent, &'static str> {
            if beans > self.beans {
                Err("there are not as many")
            } else {
                Ok(JarEvent::Taken { beans })
            }
        }
        pub(crate) fn take_unasked(&self, beans: u32) -> JarEvent {
            JarEvent::Taken { beans }
        }
        pub(crate) fn take_all_but(&self, beans: u32) -> Option<JarEvent> {
            Some(JarEvent::Taken {
                beans: self.beans - beans,
            })
        }
        pub(crate) fn refuse(&self) -> Result<JarEvent, &'static str> {
            Err("never")
        }
        pub(crate) fn fill_again(&self) -> [JarEvent; 1] {
            [JarEvent::Filled { beans: 1 }]
        }
    }

    laws!(
        Jar,
        decide = [Jar::take, |jar: &Jar, half: bool, beans: u8| jar
            .take(u32::from(beans) >> u32::from(half))]
    );
}

pub(crate) use jar::{Jar, JarEvent};

#[test]
fn a_panic_in_the_fold_is_found_and_the_shortest_history_shown() {
    let message = broken(|| Laws::<Jar>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "Jar breaks the law that folding never panics: the last of them was folded, and the code panicked: there are as many",
            "tests/main/laws/folding.rs:",
            "\n  1 Filled {\"beans\":0}\n  2 Taken {\"beans\":1}\n",
            "what to do: fold it without panicking",
            "laws!(Jar, decide = [Jar::…])",
            "EVENTSOURCING_TEST_SEED=",
        ],
    );
}

#[test]
fn the_same_seed_finds_the_same() {
    let run = || {
        broken(|| {
            Laws::<Jar>::new()
                .with_seed(Seed::new(7))
                .folding_never_panics();
        })
    };
    assert_eq!(run(), run());
    assert_says(&run(), &["EVENTSOURCING_TEST_SEED=7"]);
}

#[test]
fn every_seed_finds_the_shortest() {
    for seed in 0..50 {
        let message = broken(|| {
            Laws::<Jar>::new()
                .with_seed(Seed::new(seed))
                .folding_never_panics();
        });
        assert_says(
            &message,
            &["\n  1 Filled {\"beans\":0}\n  2 Taken {\"beans\":1}\n"],
        );
    }
}

#[test]
fn a_decision_that_lets_happen_what_the_fold_cannot_take_is_found() {
    let message = broken(|| {
        Laws::<Jar>::new()
            .with_decision(Jar::take_unasked)
            .folding_never_panics();
    });
    assert_says(
        &message,
        &[
            "the code panicked: there are as many",
            "2 Taken {\"beans\":",
            "let a decision reject",
        ],
    );
}

#[test]
fn a_decision_that_panics_is_found() {
    let message = broken(|| {
        Laws::<Jar>::new()
            .with_decision(Jar::take_all_but)
            .folding_never_panics();
    });
    assert_says(
        &message,
        &[
            "a decision was called, and the code panicked: attempt to subtract",
            "let the decision reject",
        ],
    );
}

#[test]
fn a_decision_on_what_cannot_happen_is_found() {
    let message = broken(|| {
        Laws::<Jar>::new()
            .with_decision(Jar::fill_again)
            .folding_never_panics();
    });
    assert_says(
        &message,
        &["a decision of a Jar that exists decided on Filled, which creates one"],
    );
}

#[test]
fn decisions_that_never_decide_test_nothing() {
    let message = broken(|| {
        Laws::<Jar>::new()
            .with_decision(Jar::refuse)
            .folding_never_panics();
    });
    assert_says(
        &message,
        &[
            "is not tested: every decision of Jar rejected",
            "events = […]",
        ],
    );
}
