//! Allowed changes of events, and the lines that the lock records for them.

use eventsourcing_schema::{SchemaLock, SystemSchema};

use crate::{changes, compare_with};

changes! {
    nothing:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    documentation:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} {
            /// The amount paid in.
            fn credited(&mut self, /** In cents. */ cents: i64) {}
        }
    order_of_fields_and_events:
        [] {} { fn credited(&mut self, cents: i64, note: String) {} fn closed(&mut self) {} }
        => [] {} { fn closed(&mut self) {} fn credited(&mut self, note: String, cents: i64) {} }
    method_renamed:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { #[event(name = "Credited")] fn paid_in(&mut self, cents: i64) {} }
    type_renamed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Order { cents: i64 }
        } { fn credited(&mut self, order: Order) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Request { cents: i64 }
        } { fn credited(&mut self, order: Request) {} }
    event_added:
        [] {} {}
        => [] {} { fn credited(&mut self, cents: i64) {} }
    optional_field_added:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64, note: Option<String>) {} }
    field_with_default_added:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64, #[serde(default)] note: String) {} }
    first_field_added:
        [] {} { fn closed(&mut self) {} }
        => [] {} { fn closed(&mut self, reason: Option<String>) {} }
    field_may_be_missing_now:
        [] {} { fn credited(&mut self, note: String) {} }
        => [] {} { fn credited(&mut self, note: Option<String>) {} }
    number_widened:
        [] {} { fn credited(&mut self, cents: u32) {} }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    enum_variant_added:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter, Phone { number: String } }
        } { fn credited(&mut self, channel: Channel) {} }
    field_renamed_with_alias:
        [] {} { fn credited(&mut self, amount: i64) {} }
        => [] {} { fn credited(&mut self, #[serde(alias = "amount")] cents: i64) {} }
    optional_field_renamed_with_alias:
        [] {} { fn credited(&mut self, note: Option<String>) {} }
        => [] {} { fn credited(&mut self, #[serde(alias = "note")] remark: Option<String>) {} }
    field_renamed_in_the_program_only:
        [] {} { fn credited(&mut self, amount: i64) {} }
        => [] {} { fn credited(&mut self, #[serde(rename = "amount")] cents: i64) {} }
    enum_variant_renamed_with_alias:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, #[serde(alias = "Counter")] Desk }
        } { fn credited(&mut self, channel: Channel) {} }
    new_version_with_upcaster:
        [] {} { fn credited(&mut self, amount: String) {} }
        => [] {
            #[derive(Deserialize)] pub struct Old { amount: String }
            #[derive(Serialize)] pub struct New { cents: i64 }
            fn in_cents(old: Old) -> New { New { cents: old.amount.len() as i64 } }
        } {
            #[event(version = 2, upcast(from = 1, with = in_cents))]
            fn credited(&mut self, cents: i64) {}
        }
    event_renamed_with_former_name:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { #[event(former_names("Credited"))] fn paid_in(&mut self, cents: i64) {} }
    event_split:
        [] {} { fn moved(&mut self, cents: i64) {} }
        => [split(name = "Moved", with = moved)] {
            #[derive(Deserialize)] pub struct Moved { cents: i64 }
            fn moved(old: Moved) -> [AccountEvent; 2] {
                [AccountEvent::Credited { cents: old.cents }, AccountEvent::Credited { cents: -old.cents }]
            }
        } { fn credited(&mut self, cents: i64) {} }
    event_retired:
        [] {} { fn frozen(&mut self) {} }
        => [retired("Frozen")] {} {}
}

mod renamed_aggregate {
    use eventsourcing_core::{Aggregate, event};
    use serde::{Deserialize, Serialize};

    #[derive(Aggregate, Serialize, Deserialize)]
    #[aggregate(former_names("Account"))]
    pub(super) struct Konto {}

    #[event(schema)]
    impl Konto {
        fn opened(owner: String) -> Self {
            Self {}
        }
        fn credited(&mut self, cents: i64) {}
    }
}

#[test]
fn an_aggregate_may_have_another_stored_name() {
    let lock = nothing::before::schema()
        .update(&SchemaLock::default())
        .expect("nothing was locked");
    let konto = SystemSchema::new("Bank").with::<renamed_aggregate::Konto>();
    let comparison = konto.compare(&lock).expect("samples can be made");
    let expected = [
        "Konto / Credited / version 1: the event is new",
        "Konto / Opened / version 1: the event is new",
    ];
    assert_eq!(
        (comparison.breakages.len(), &*comparison.unrecorded),
        (0, &expected.map(String::from)[..])
    );
    let both = konto.update(&lock).expect("it is allowed");
    assert_eq!(both.samples::<renamed_aggregate::Konto>().count(), 4);
}

#[test]
fn every_other_change_passes_and_is_recorded() {
    let mut said = Vec::new();
    for change in all() {
        let lock = change.lock_before();
        let comparison = change
            .after
            .compare(&lock)
            .unwrap_or_else(|error| panic!("{}: {error}", change.name));
        assert!(
            comparison.breakages.is_empty(),
            "{}: {comparison}",
            change.name
        );
        let updated = change
            .after
            .update(&lock)
            .unwrap_or_else(|error| panic!("{}: {error}", change.name));
        let again = change.after.compare(&updated).expect("it was updated");
        assert!(again.is_locked(), "{}: {again}", change.name);
        let kept = lock
            .events()
            .flat_map(eventsourcing_schema::LockedEvent::samples);
        let now: Vec<_> = updated
            .events()
            .flat_map(eventsourcing_schema::LockedEvent::samples)
            .collect();
        assert!(
            kept.into_iter().all(|sample| now.contains(&sample)),
            "{} lost a sample",
            change.name
        );
        said.push((change.name, comparison.to_string()));
    }
    compare_with("allowed.txt", &said);
}
