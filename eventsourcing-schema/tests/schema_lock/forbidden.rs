//! Forbidden changes of events.

use eventsourcing_schema::LockError;

use crate::{changes, compare_with};

changes! {
    field_removed:
        [] {} { fn credited(&mut self, cents: i64, note: String) {} }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    field_renamed:
        [] {} { fn credited(&mut self, amount: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    optional_field_renamed:
        [] {} { fn credited(&mut self, note: Option<String>) {} }
        => [] {} { fn credited(&mut self, remark: Option<String>) {} }
    field_retyped:
        [] {} { fn credited(&mut self, amount: String, note: Option<String>) {} }
        => [] {} { fn credited(&mut self, amount: i64, note: Option<String>) {} }
    number_narrowed:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: u32) {} }
    whole_number_becomes_a_fraction:
        [] {} { fn credited(&mut self, amount: i64) {} }
        => [] {} { fn credited(&mut self, amount: f64) {} }
    list_becomes_a_set:
        [] {} { fn credited(&mut self, cents: Vec<i64>) {} }
        => [] {} { fn credited(&mut self, cents: BTreeSet<i64>) {} }
    list_gets_another_length:
        [] {} { fn credited(&mut self, cents: [i64; 2]) {} }
        => [] {} { fn credited(&mut self, cents: [i64; 3]) {} }
    field_made_required:
        [] {} { fn credited(&mut self, cents: i64, note: Option<String>) {} }
        => [] {} { fn credited(&mut self, cents: i64, note: String) {} }
    default_taken_away:
        [] {} { fn credited(&mut self, #[serde(default)] cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    field_added:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn credited(&mut self, cents: i64, channel: String) {} }
    enum_variant_removed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web }
        } { fn credited(&mut self, channel: Channel) {} }
    enum_variant_renamed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter { teller: u8 } }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Desk { teller: u8 } }
        } { fn credited(&mut self, channel: Channel) {} }
    enum_variant_swallowed_by_other:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, Counter, Unknown }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Web, #[serde(other)] Unknown }
        } { fn credited(&mut self, channel: Channel) {} }
    tagged_variant_removed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(tag = "kind")]
            pub enum Channel { Web { address: String }, Counter { teller: u8 } }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(tag = "kind")]
            pub enum Channel { Web { address: String } }
        } { fn credited(&mut self, channel: Channel) {} }
    only_variant_renamed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Counter }
        } { fn credited(&mut self, channel: Channel) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Desk }
        } { fn credited(&mut self, channel: Channel) {} }
    only_field_of_a_closed_type_renamed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct Order { amount: i64 }
        } { fn credited(&mut self, order: Order) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct Order { cents: i64 }
        } { fn credited(&mut self, order: Order) {} }
    flattened_variant_removed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Place { street: String, #[serde(flatten)] channel: Channel }
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Phone(String), Counter { teller: u8 } }
        } { fn placed(&mut self, place: Place) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Place { street: String, #[serde(flatten)] channel: Channel }
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub enum Channel { Phone(String) }
        } { fn placed(&mut self, place: Place) {} }
    untagged_alternative_removed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(untagged)]
            pub enum Number { Text(String), Whole(i64) }
        } { fn counted(&mut self, number: Number) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(untagged)]
            pub enum Number { Whole(i64) }
        } { fn counted(&mut self, number: Number) {} }
    payload_becomes_another_type:
        [] {} { fn noted(&mut self, pair: (u8, String)) {} }
        => [] {} { fn noted(&mut self, pair: (u8, bool)) {} }
    nested_field_changed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Order { lines: Vec<Line> }
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Line { cents: i64 }
        } { fn credited(&mut self, order: Option<Order>) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Order { lines: Vec<Line> }
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Line { cents: String }
        } { fn credited(&mut self, order: Option<Order>) {} }
    recursive_type_changed:
        [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Party { name: String, parts: Vec<Party> }
        } { fn joined(&mut self, party: Party) {} }
        => [] {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub struct Party { name: u8, parts: Vec<Party> }
        } { fn joined(&mut self, party: Party) {} }
    value_of_a_map_changed:
        [] {} { fn counted(&mut self, coins: BTreeMap<String, u32>) {} }
        => [] {} { fn counted(&mut self, coins: BTreeMap<String, String>) {} }
    event_removed:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} {}
    event_renamed:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { fn paid_in(&mut self, cents: i64) {} }
    event_renamed_and_changed:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] {} { #[event(former_names("Credited"))] fn paid_in(&mut self, euros: i64) {} }
    version_skipped:
        [] {} { fn credited(&mut self, cents: i64) {} }
        => [] { fn same(old: Value) -> Value { old } } {
            #[event(version = 3, upcast(from = 1, with = same), upcast(from = 2, with = same))]
            fn credited(&mut self, cents: i64) {}
        }
    version_lowered:
        [] { fn same(old: Value) -> Value { old } } {
            #[event(version = 2, upcast(from = 1, with = same))]
            fn credited(&mut self, cents: i64) {}
        }
        => [] {} { fn credited(&mut self, cents: i64) {} }
    split_of_a_version_missing:
        [] { fn same(old: Value) -> Value { old } } {
            fn credited(&mut self, cents: i64) {}
            #[event(version = 2, upcast(from = 1, with = same))]
            fn moved(&mut self, cents: i64) {}
        }
        => [split(name = "Moved", with = moved)] {
            #[derive(Deserialize)] pub struct Moved { cents: i64 }
            fn moved(old: Moved) -> AccountEvent { AccountEvent::Credited { cents: old.cents } }
        } { fn credited(&mut self, cents: i64) {} }
    upcaster_fails_on_what_was_stored:
        [] {} { fn credited(&mut self, amount: String) {} }
        => [] {
            #[derive(Deserialize)] pub struct Old { amount: i64 }
            #[derive(Serialize)] pub struct New { cents: i64 }
            fn in_cents(old: Old) -> New { New { cents: old.amount * 100 } }
        } {
            #[event(version = 2, upcast(from = 1, with = in_cents))]
            fn credited(&mut self, cents: i64) {}
        }
    aggregate_renamed:
        [] {} {}
        => [] {
            pub mod renamed {
                #[derive(eventsourcing_core::Aggregate, serde::Serialize, serde::Deserialize)]
                pub struct Konto {}
                #[eventsourcing_core::event(schema)]
                impl Konto { fn opened(_owner: String) -> Self { Self {} } }
            }
        } {}
}

#[test]
fn every_change_that_breaks_stored_events_is_found_and_says_what_to_do() {
    let mut said = Vec::new();
    for mut change in all() {
        let lock = change.lock_before();
        if change.name == "aggregate_renamed" {
            change.after = eventsourcing_schema::SystemSchema::new("Bank")
                .with::<aggregate_renamed::after::renamed::Konto>();
        }
        let comparison = change
            .after
            .compare(&lock)
            .unwrap_or_else(|error| panic!("{}: {error}", change.name));
        assert!(
            !comparison.breakages.is_empty(),
            "{}: {comparison}",
            change.name
        );
        assert!(
            comparison
                .breakages
                .iter()
                .all(|breakage| !breakage.remedies.is_empty()),
            "{}",
            change.name
        );
        let refused = change.after.update(&lock);
        assert!(
            matches!(refused, Err(LockError::Broken(_))),
            "{} is recorded",
            change.name
        );
        said.push((change.name, comparison.to_string()));
    }
    compare_with("forbidden.txt", &said);
}
