//! The laws notice what breaks them, say which law it is and what to do, and let pass what keeps them. For each planted bug
//! there is an aggregate or a policy that has it.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use eventsourcing_core::testing::laws::{Laws, PolicyLaws, Sample};
use eventsourcing_core::testing::{Seed, laws};
use eventsourcing_core::{Aggregate, AppError, Application, Fold, Id, Misplaced, Policy, Recorded, Work, event};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the law says that is broken.
fn broken(law: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(law)).expect_err("the law must be broken");
    *panic.downcast::<String>().expect("laws say what is wrong")
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// A jar whose fold cannot take more beans than there are.
mod jar {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Jar {
        pub(super) beans: u32,
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
        pub(super) fn take(&self, beans: u32) -> Result<JarEvent, &'static str> {
            if beans > self.beans { Err("there are not as many") } else { Ok(JarEvent::Taken { beans }) }
        }
        pub(super) fn take_unasked(&self, beans: u32) -> JarEvent {
            JarEvent::Taken { beans }
        }
        pub(super) fn take_all_but(&self, beans: u32) -> Option<JarEvent> {
            Some(JarEvent::Taken { beans: self.beans - beans })
        }
        pub(super) fn refuse(&self) -> Result<JarEvent, &'static str> {
            Err("never")
        }
        pub(super) fn fill_again(&self) -> [JarEvent; 1] {
            [JarEvent::Filled { beans: 1 }]
        }
    }

    laws!(Jar, decide = [Jar::take, |jar: &Jar, half: bool, beans: u8| jar.take(u32::from(beans) >> u32::from(half))]);
}

use jar::{Jar, JarEvent};

#[test]
fn a_panic_in_the_fold_is_found_and_the_shortest_history_shown() {
    let message = broken(|| Laws::<Jar>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "Jar breaks the law that folding never panics: the last of them was folded, and it panicked: there are as many",
            "tests/laws.rs:",
            "\n  1 Filled {\"beans\":0}\n  2 Taken {\"beans\":1}\n",
            "what to do: fold it without panicking",
            "laws!(Jar, decide = [Jar::…])",
            "EVENTSOURCING_TEST_SEED=",
        ],
    );
}

#[test]
fn the_same_seed_finds_the_same() {
    let run = || broken(|| Laws::<Jar>::new().with_seed(Seed::new(7)).folding_never_panics());
    assert_eq!(run(), run());
    assert_says(&run(), &["EVENTSOURCING_TEST_SEED=7"]);
}

#[test]
fn every_seed_finds_the_shortest() {
    for seed in 0..50 {
        let message = broken(|| Laws::<Jar>::new().with_seed(Seed::new(seed)).folding_never_panics());
        assert_says(&message, &["\n  1 Filled {\"beans\":0}\n  2 Taken {\"beans\":1}\n"]);
    }
}

#[test]
fn a_decision_that_lets_happen_what_the_fold_cannot_take_is_found() {
    let message = broken(|| Laws::<Jar>::new().with_decision(Jar::take_unasked).folding_never_panics());
    assert_says(&message, &["it panicked: there are as many", "2 Taken {\"beans\":", "let a decision refuse"]);
}

#[test]
fn a_decision_that_panics_is_found() {
    let message = broken(|| Laws::<Jar>::new().with_decision(Jar::take_all_but).folding_never_panics());
    assert_says(
        &message,
        &["a decision was asked for, and it panicked: attempt to subtract", "let the decision refuse"],
    );
}

#[test]
fn a_decision_on_what_cannot_happen_is_found() {
    let message = broken(|| Laws::<Jar>::new().with_decision(Jar::fill_again).folding_never_panics());
    assert_says(&message, &["a decision of a Jar that exists decided on Filled, which creates one"]);
}

#[test]
fn decisions_that_never_decide_test_nothing() {
    let message = broken(|| Laws::<Jar>::new().with_decision(Jar::refuse).folding_never_panics());
    assert_says(&message, &["is not tested: every decision of Jar refused", "events = […]"]);
}

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
                    Self { at: (now() / $per_tick) as u64 }
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
    assert_says(&message, &["Watch breaks the law that replay gives what was recorded", "{\"at\":", "no clock"]);
}

/// What an event does not store cannot be replayed.
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
            ShopEvent::Sold { price: price.into() }
        }
    }
}

#[test]
fn an_event_that_forgets_a_field_is_found() {
    use forgetful_event::Shop;
    let message = broken(|| Laws::<Shop>::new().with_decision(Shop::sell).replay_gives_what_was_recorded());
    assert_says(&message, &["replay gives what was recorded", "the state replayed is {\"takings\":0}", "2 Sold {}"]);
}

/// A snapshot that drops what later events need.
mod forgetful_state {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Account {
        balance: i64,
        #[serde(skip)]
        rate: i64,
    }

    #[event]
    impl Account {
        fn opened() -> Self {
            Self { balance: 0, rate: 3 }
        }
        fn credited(&mut self, amount: u8) {
            self.balance += i64::from(amount) * self.rate;
        }
    }
}

/// A snapshot that drops what only decisions need.
mod forgetful_only_to_debug {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Account {
        balance: i64,
        #[serde(skip)]
        frozen: bool,
    }

    #[event]
    impl Account {
        fn opened() -> Self {
            Self { balance: 0, frozen: false }
        }
        fn frozen(&mut self) {
            self.frozen = true;
        }
    }

    impl Account {
        pub(super) fn freeze(&self) -> Option<AccountEvent> {
            (!self.frozen && self.balance == 0).then_some(AccountEvent::Frozen)
        }
    }
}

#[test]
fn a_snapshot_that_drops_a_field_is_found() {
    let message =
        broken(|| Laws::<forgetful_state::Account>::new().a_snapshot_and_the_events_after_it_are_all_events());
    assert_says(
        &message,
        &[
            "Account breaks the law that a snapshot and the events after it are all events: a snapshot at version 1",
            "make {\"balance\":0}, and all events make {\"balance\":3}",
            "\n  1 Opened {}\n  2 Credited {\"amount\":1}\n",
            "no `skip`",
        ],
    );
}

#[test]
fn a_snapshot_that_drops_a_field_that_only_debug_shows_is_found() {
    use forgetful_only_to_debug::Account;
    let law = || Laws::<Account>::new().with_decision(Account::freeze);
    let message = broken(|| law().with_debug().a_snapshot_and_the_events_after_it_are_all_events());
    assert_says(
        &message,
        &["make Account { balance: 0, frozen: false }, and all events make Account { balance: 0, frozen: true }"],
    );
    assert_says(&message, &["\n  1 Opened {}\n  2 Frozen {}\n"]);
}

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

            fn written<S: serde::Serializer>($grams: &u32, serializer: S) -> Result<S::Ok, S::Error> {
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
    assert_says(&message, &["the state that recorded them is {\"grams\":1}, and the state replayed is {\"grams\":0}"]);
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
        Laws::<Purse>::new().with_samples(samples).what_is_stored_can_be_read();
    }
}

#[test]
fn an_upcaster_that_fails_on_an_old_sample_is_found() {
    let message = broken(|| upcast::check([("PutIn", 1, json!({ "amount": "5" }))]));
    assert_says(
        &message,
        &[
            "Purse breaks the law that what is stored can be read: the sample of version 1 of PutIn, {\"amount\":\"5\"}, cannot \
             be read: event PutIn cannot be brought from version 1 to version 2: the amount is not a number",
            "let the upcaster or the split take whatever was ever stored",
        ],
    );
    let message = broken(|| upcast::check([("Swapped", 1, json!({}))]));
    assert_says(&message, &["version 1 of event Swapped cannot be split: by how much?"]);
}

#[test]
fn an_upcaster_that_reads_the_clock_is_found() {
    let message = broken(|| upcast::check([("TakenOut", 1, json!({ "cents": 5 }))]));
    assert_says(&message, &["the sample of version 1 of TakenOut", "and read again as"]);
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
        [PurseEvent::PutIn { cents: 1 }, PurseEvent::PutIn { cents: -1 }]
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
        assert_says(&message, &["the sample of version 1 of Burnt, {}, cannot be read: unknown event \"Burnt\""]);
    }
}

/// What is misplaced must change nothing.
mod misplaced {
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
        fn create(event: DoorEvent) -> Result<Self, Misplaced> {
            match event {
                DoorEvent::Built => Ok(Self { openings: 0 }),
                DoorEvent::Opened => Err(Misplaced),
            }
        }
        fn apply(&mut self, event: DoorEvent) -> Result<(), Misplaced> {
            self.openings += 1;
            match event {
                DoorEvent::Built => Err(Misplaced),
                DoorEvent::Opened => Ok(()),
            }
        }
    }

    /// No event comes first.
    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(event = DoorEvent)]
    pub(super) struct Wall {}

    impl Fold<DoorEvent> for Wall {
        fn create(_: DoorEvent) -> Result<Self, Misplaced> {
            Err(Misplaced)
        }
        fn apply(&mut self, _: DoorEvent) -> Result<(), Misplaced> {
            Ok(())
        }
    }
}

#[test]
fn a_misplaced_event_that_changes_the_state_is_found() {
    let message = broken(|| Laws::<misplaced::Door>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "the last of them is misplaced, but has changed the state from {\"openings\":0} to {\"openings\":1}",
            "\n  1 Built {}\n  2 Built {}\n",
            "return `Misplaced` before anything is changed",
        ],
    );
}

#[test]
fn what_nothing_creates_tests_nothing() {
    let message = broken(|| Laws::<misplaced::Wall>::new().replay_gives_what_was_recorded());
    assert_says(&message, &["is not tested: no event that was drawn creates a Wall", "`laws!(Wall, events = […])`"]);
}

/// A text that nobody can guess.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Password(String);

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "xyzzy" { Ok(Self(text)) } else { Err("not the password") }
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

mod undrawable {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Cave {
        entries: u32,
    }

    #[event]
    impl Cave {
        fn found() -> Self {
            Self { entries: 0 }
        }
        fn entered(&mut self, _password: Password) {
            self.entries += 1;
        }
    }

    laws!(Cave, events = [CaveEvent::Entered { password: Password("xyzzy".into()) }]);
}

#[test]
fn what_cannot_be_drawn_is_asked_for() {
    let message = broken(|| Laws::<undrawable::Cave>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "is not tested: no Entered could be drawn from its type",
            "(not the password)",
            "`laws!(Cave, events = […])` with some `Entered`",
        ],
    );
}

/// All that may be in an event and in a state.
mod everything {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Shape {
        Point,
        Circle(f64),
        Line(i8, i128),
        Group { name: String, shapes: Vec<Shape> },
        Boxed(Box<Shape>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Detail {
        #[serde(rename = "theId", alias = "identity")]
        id: Id<Everything>,
        #[serde(default)]
        when: Option<Timestamp>,
        date: Option<jiff::civil::Date>,
        unit: (),
        letter: char,
        pair: (u8, bool),
        address: std::net::IpAddr,
        price: std::num::NonZeroU64,
        lasting: std::time::Duration,
        any: Value,
    }

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Everything {
        shapes: Vec<Shape>,
        words: HashSet<String>,
        counts: HashMap<String, u32>,
        details: BTreeMap<String, Detail>,
        sum: f64,
    }

    #[event]
    impl Everything {
        fn begun(words: HashSet<String>, counts: HashMap<String, u32>) -> Self {
            let (shapes, details) = (Vec::new(), BTreeMap::new());
            Self { shapes, words, counts, details, sum: 0.0 }
        }
        fn drawn(&mut self, shape: Shape) {
            self.shapes.push(shape);
        }
        fn described(&mut self, detail: Detail) {
            self.sum += detail.price.get() as f64;
            self.details.insert(detail.letter.to_string(), detail);
        }
        fn said(&mut self, word: String) {
            *self.counts.entry(word.clone()).or_default() += 1;
            self.words.insert(word);
        }
        fn cleared(&mut self) {
            self.shapes.clear();
        }
    }

    laws!(Everything);
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Shelf {
    jars: u32,
}

#[event]
impl Shelf {
    fn built(_at: Timestamp) -> Self {
        Self { jars: 0 }
    }
    fn jar_added(&mut self, _jar: Id<Jar>) {
        self.jars += 1;
    }
}

/// A policy whose body is given.
macro_rules! policy {
    ($name:ident, |$event:ident, $work:ident| $body:expr) => {
        struct $name;

        impl From<Application> for $name {
            fn from(_: Application) -> Self {
                Self
            }
        }

        impl Policy<Jar> for $name {
            type Error = AppError;

            async fn react(&self, $event: &Recorded<Jar>, $work: &mut Work) -> Result<(), AppError> {
                $body;
                Ok(())
            }
        }
    };
}

policy!(Careful, |event, work| {
    let id = work.new_id::<Shelf>();
    work.create(id, ShelfEvent::Built { at: event.recorded_at });
    work.schedule(event.recorded_at, id, &id);
});
policy!(ReadsTheClock, |_event, work| {
    let id = work.new_id::<Shelf>();
    work.create(id, ShelfEvent::Built { at: Timestamp::now() });
});
policy!(InventsIds, |event, work| {
    if let JarEvent::Taken { .. } = event.payload {
        work.create(Id::<Shelf>::new(), ShelfEvent::Built { at: event.recorded_at });
    }
});
policy!(SchedulesAtRandom, |event, work| {
    let id = work.new_id::<Shelf>();
    work.create(id, ShelfEvent::Built { at: event.recorded_at });
    work.schedule(event.recorded_at, event.aggregate_id, &now().to_string());
});
policy!(NeedsAShelf, |event, work| {
    let shelf = work.load(Id::<Shelf>::from_uuid(event.aggregate_id.as_uuid())).await?;
    shelf.record(ShelfEvent::JarAdded { jar: event.aggregate_id });
});

laws!(policy Careful: Jar);
laws!(policy NeedsAShelf: Jar, given = [Shelf]);

fn dealt_with<P: From<Application> + Policy<Jar>>() -> String {
    broken(|| PolicyLaws::<P, Jar>::new().an_event_dealt_with_twice_leads_to_the_same())
}

#[test]
fn a_policy_that_reads_the_clock_is_found() {
    assert_says(
        &dealt_with::<ReadsTheClock>(),
        &[
            "ReadsTheClock breaks the law that an event dealt with twice leads to the same: event 1 led to\n  Shelf",
            "and dealt with once more to\n  Shelf",
            "\n  1 Filled {\"beans\":0}\n",
            "ids from `work.new_id()`, times from `event.recorded_at`",
        ],
    );
}

#[test]
fn a_policy_that_invents_ids_is_found() {
    assert_says(
        &dealt_with::<InventsIds>(),
        &["InventsIds breaks the law", "event 2 led to", "\n  2 Taken {\"beans\":0}\n"],
    );
}

#[test]
fn a_policy_that_schedules_at_random_is_found() {
    assert_says(&dealt_with::<SchedulesAtRandom>(), &["SchedulesAtRandom breaks the law", "\n  timer "]);
}

#[test]
fn a_policy_that_does_nothing_tests_nothing() {
    let message = dealt_with::<NeedsAShelf>();
    assert_says(&message, &["is not tested: no event of Jar led to anything", "`given = […]`"]);
}
