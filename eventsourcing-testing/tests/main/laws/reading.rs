//! Events, and samples of earlier ones, that are read as others than were written, or not at all.

use super::*;

/// Events that are read as others than were written, more so each time or once and for all.
macro_rules! scale {
    ($module:ident |$grams:ident| $written:expr) => {
        mod $module {
            use super::*;

            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Scale {
                grams: u32,
            }

            #[event]
            impl Scale {
                fn weighed(#[serde(serialize_with = "written")] grams: u32) -> Self {
                    Self { grams }
                }
            }

            fn written<S: serde::Serializer>(
                $grams: &u32,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.serialize_u32($written)
            }
        }
    };
}
scale!(doubling | grams | grams * 2 + 1);
scale!(rounding | grams | grams / 10 * 10);

#[test]
fn an_event_that_is_read_as_another_is_found() {
    let message = broken(|| Laws::<doubling::Scale>::new().what_is_stored_can_be_read());
    assert_says(
        &message,
        &[
            "Scale breaks the law that what is stored can be read: Weighed {\"grams\":1} is written, and Weighed {\"grams\":3} is read",
            "`serialize_with` must fit together",
        ],
    );
    let message = broken(|| Laws::<rounding::Scale>::new().replay_gives_what_was_recorded());
    assert_says(
        &message,
        &["the state that recorded them is {\"grams\":1}, and the state replayed is {\"grams\":0}"],
    );
}

/// An event of which there have been two versions before, under two names.
mod upcast {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Purse {
        cents: i64,
    }

    #[event(split(name = "Swapped", with = swapped), retired("Polished"))]
    impl Purse {
        fn sewn() -> Self {
            Self { cents: 0 }
        }
        #[event(version = 2, former_names("Filled"), upcast(from = 1, with = in_cents))]
        fn put_in(&mut self, cents: i64) {
            self.cents += cents;
        }
        #[event(version = 2, upcast(from = 1, with = dated))]
        fn taken_out(&mut self, cents: i64, _at: u64) {
            self.cents -= cents;
        }
    }

    /// It forgets that there was text once.
    fn in_cents(old: Value) -> Result<Value, &'static str> {
        let whole = old["amount"].as_i64().ok_or("the amount is not a number")?;
        Ok(json!({ "cents": whole * 100 }))
    }

    fn dated(mut old: Value) -> Value {
        old["_at"] = json!(now() as u64);
        old["at"] = json!(now() as u64);
        old
    }

    fn swapped(old: Value) -> Result<PurseEvent, String> {
        let cents = old["by"].as_i64().ok_or("by how much?")?;
        Ok(PurseEvent::PutIn { cents })
    }

    pub(super) fn check(samples: impl IntoIterator<Item = (&'static str, u16, Value)>) {
        Laws::<Purse>::new()
            .with_samples(samples)
            .what_is_stored_can_be_read();
    }
}

#[test]
fn an_upcaster_that_fails_on_an_old_sample_is_found() {
    let message = broken(|| upcast::check([("PutIn", 1, json!({ "amount": "5" }))]));
    assert_says(
        &message,
        &[
            "Purse breaks the law that what is stored can be read: the sample of version 1 of PutIn, {\"amount\":\"5\"}, cannot \
             be read: event PutIn cannot be upcast from version 1 to version 2: the amount is not a number",
            "let the upcaster or the split accept every payload that was ever stored",
        ],
    );
    let message = broken(|| upcast::check([("Swapped", 1, json!({}))]));
    assert_says(
        &message,
        &["version 1 of event Swapped cannot be split: by how much?"],
    );
}

#[test]
fn an_upcaster_that_reads_the_clock_is_found() {
    let message = broken(|| upcast::check([("TakenOut", 1, json!({ "cents": 5 }))]));
    assert_says(
        &message,
        &["the sample of version 1 of TakenOut", "and read again as"],
    );
}

#[test]
fn an_earlier_version_without_a_sample_is_found() {
    let message = broken(|| upcast::check([]));
    assert_says(
        &message,
        &[
            "there is no sample of version 1 of PutIn, which stores may hold",
            "`laws!(Purse, samples = [(\"PutIn\", 1, json!({ … }))])`",
        ],
    );
    let message = broken(|| upcast::check([("Filled", 1, json!({ "amount": 5 }))]));
    assert_says(&message, &["no sample of version 1 of TakenOut"]);
}

/// The same without a fault. The retired event needs no sample, and may have one.
mod well_upcast {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Purse {
        cents: i64,
    }

    #[event(split(name = "Swapped", with = swapped), retired("Polished"))]
    impl Purse {
        fn sewn() -> Self {
            Self { cents: 0 }
        }
        #[event(version = 2, former_names("Filled"), upcast(from = 1, with = in_cents))]
        fn put_in(&mut self, cents: i64) {
            self.cents += cents;
        }
    }

    fn in_cents(old: Value) -> Value {
        json!({ "cents": old["amount"].as_i64().unwrap_or_default() * 100 })
    }

    fn swapped(_: Value) -> [PurseEvent; 2] {
        [
            PurseEvent::PutIn { cents: 1 },
            PurseEvent::PutIn { cents: -1 },
        ]
    }

    laws!(
        Purse,
        samples = [
            ("Filled", 1, json!({ "amount": "5" })),
            ("PutIn", 2, json!({ "cents": 5 })),
            ("Swapped", 1, json!({ "by": null })),
            ("Polished", 9, json!([])),
        ]
    );

    #[test]
    fn a_sample_of_what_never_was_is_found() {
        let law = || Laws::<Purse>::new().with_samples([Sample::new("Burnt", 1, json!({}))]);
        let message = broken(|| law().what_is_stored_can_be_read());
        assert_says(
            &message,
            &["the sample of version 1 of Burnt, {}, cannot be read: unknown event \"Burnt\""],
        );
    }
}
