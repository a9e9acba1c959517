//! [`FollowedEvents`]: the events of one log that a follower takes, and their comparison with the
//! recorded ones.
//!
//! A follower whose declaration has changed may have skipped events that it takes now, or processed
//! events that it takes no more. That matters only if the log has such events before its position,
//! so the log is asked, in `agreed_events.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Table;
use crate::store::Name;

/// Stored names of events, by the stored names of the aggregates they belong to.
pub(crate) type EventNames = BTreeMap<Name, BTreeSet<Name>>;

/// The events that a follower takes of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct FollowedEvents {
    /// The events that the follower needs.
    needed: EventNames,
    /// The events of the followed aggregates that this release knows, needed or not.
    known: EventNames,
    /// The events that were removed from the program and are read as nothing.
    retired: EventNames,
    /// The aggregates of which it takes all events. If it meets an unknown one it waits for another
    /// release, so no agreement is needed before.
    whole: BTreeSet<Name>,
    /// The aggregates that this release knows, followed or not.
    known_aggregates: BTreeSet<Name>,
    /// The definitions of the tables of a read model; `None` for other followers.
    tables: Option<Vec<String>>,
}

/// [`FollowedEvents`] as they are recorded with the follower.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedEvents {
    events: EventNames,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<String>>,
}

/// The events of one aggregate that a follower takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct AggregateEvents {
    /// All events are needed, also those that this release does not know.
    pub(crate) are_all: bool,
    pub(crate) needed: BTreeSet<&'static str>,
    pub(crate) known: BTreeSet<&'static str>,
    pub(crate) retired: BTreeSet<&'static str>,
}

/// The difference between the events that a follower takes and the recorded ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The events that it takes in addition.
    pub(crate) added: EventNames,
    /// The events that it does not take any more, though this release knows them.
    pub(crate) dropped: EventNames,
}

impl FollowedEvents {
    pub(crate) fn add(&mut self, aggregate: &Name, events: &AggregateEvents) {
        let names =
            |names: &BTreeSet<&'static str>| names.iter().copied().map(Name::from_static).collect();
        self.needed.insert(aggregate.clone(), names(&events.needed));
        self.known.insert(aggregate.clone(), names(&events.known));
        self.retired
            .insert(aggregate.clone(), names(&events.retired));
        if events.are_all {
            self.whole.insert(aggregate.clone());
        }
    }

    pub(crate) fn with_known_aggregates(mut self, aggregates: &BTreeSet<Name>) -> Self {
        self.known_aggregates.clone_from(aggregates);
        self
    }

    pub(crate) fn with_tables(mut self, tables: &[Table]) -> Self {
        self.tables = Some(tables.iter().map(Table::definition).collect());
        self
    }

    /// Returns the stored names of the aggregates.
    pub(crate) fn aggregates(&self) -> impl Iterator<Item = &Name> {
        self.needed.keys()
    }

    /// Returns a record of these events, without regard to an earlier record.
    pub(crate) fn record(&self) -> RecordedEvents {
        RecordedEvents {
            events: self.needed.clone(),
            tables: self.tables.clone(),
        }
    }

    /// Returns the record that replaces `recorded`: without `dropped`, with the needed events.
    /// Events that only another release knows stay, since that release may run beside this one.
    pub(crate) fn record_over(
        &self,
        recorded: &RecordedEvents,
        dropped: &EventNames,
    ) -> RecordedEvents {
        let mut events = without(&recorded.events, dropped);
        for (aggregate, names) in &self.needed {
            events
                .entry(aggregate.clone())
                .or_default()
                .extend(names.iter().cloned());
        }
        RecordedEvents {
            events,
            tables: self.tables.clone(),
        }
    }

    /// Returns how these events differ from the recorded ones, except for events that this release
    /// does not know.
    pub(crate) fn change_from(&self, recorded: &RecordedEvents) -> Change {
        let gone = without(&without(&recorded.events, &self.needed), &self.retired);
        let dropped = gone.iter().map(|(aggregate, names)| {
            let known = names
                .iter()
                .filter(|name| self.knows(aggregate, name))
                .cloned()
                .collect();
            (aggregate.clone(), known)
        });
        let dropped = dropped
            .filter(|(_, names): &(Name, BTreeSet<Name>)| !names.is_empty())
            .collect();
        Change {
            added: without(&self.needed, &recorded.events),
            dropped,
        }
    }

    /// Returns the recorded events that this release does not know and would skip.
    pub(crate) fn unknown_in(&self, recorded: &RecordedEvents) -> EventNames {
        let mut gone = without(&without(&recorded.events, &self.needed), &self.retired);
        gone.retain(|aggregate, _| !self.whole.contains(aggregate));
        let unknown = gone.into_iter().map(|(aggregate, mut names)| {
            names.retain(|name| !self.knows(&aggregate, name));
            (aggregate, names)
        });
        unknown.filter(|(_, names)| !names.is_empty()).collect()
    }

    /// Returns `true` if the follower is a read model in tables.
    pub(crate) fn is_of_read_model(&self) -> bool {
        self.tables.is_some()
    }

    /// Returns `true` if the definitions of the tables differ from the recorded ones.
    pub(crate) fn has_other_tables_than(&self, recorded: &RecordedEvents) -> bool {
        recorded.tables.is_some() && self.tables.is_some() && recorded.tables != self.tables
    }

    fn knows(&self, aggregate: &Name, event: &Name) -> bool {
        match self.known.get(aggregate) {
            Some(known) => known.contains(event),
            None => self.known_aggregates.contains(aggregate),
        }
    }
}

impl Change {
    /// Returns the added and the dropped events together.
    pub(crate) fn all(&self) -> EventNames {
        let mut all = self.added.clone();
        for (aggregate, names) in &self.dropped {
            all.entry(aggregate.clone())
                .or_default()
                .extend(names.iter().cloned());
        }
        all
    }
}

fn without(events: &EventNames, others: &EventNames) -> EventNames {
    let rest = events.iter().map(|(aggregate, names)| {
        let others = others.get(aggregate);
        let rest = names
            .iter()
            .filter(|name| others.is_none_or(|others| !others.contains(*name)))
            .cloned();
        (aggregate.clone(), rest.collect::<BTreeSet<_>>())
    });
    rest.filter(|(_, names)| !names.is_empty()).collect()
}

/// Names the events in words, for messages.
pub(crate) fn describe_events(events: &EventNames) -> String {
    let of_aggregate = |(aggregate, names): (&Name, &BTreeSet<Name>)| {
        let names: Vec<_> = names.iter().map(Name::as_str).collect();
        format!("{} of {aggregate}", names.join(", "))
    };
    events
        .iter()
        .map(of_aggregate)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(events: &[(&'static str, &[&'static str])]) -> EventNames {
        let names = |names: &[&'static str]| names.iter().copied().map(Name::from_static).collect();
        events
            .iter()
            .map(|(aggregate, events)| (Name::from_static(aggregate), names(events)))
            .collect()
    }

    /// A follower of `Jar`, which has the events `a` to `d` and a retired one, `old`.
    fn follower(needed: &[&'static str]) -> FollowedEvents {
        let mut followed = FollowedEvents::default();
        let known = BTreeSet::from(["a", "b", "c", "d", "old"]);
        let needed = needed.iter().copied().collect();
        let retired = BTreeSet::from(["old"]);
        followed.add(
            &"Jar".into(),
            &AggregateEvents {
                are_all: false,
                needed,
                known,
                retired,
            },
        );
        followed.with_known_aggregates(&BTreeSet::from(["Jar".into(), "Shelf".into()]))
    }

    fn recorded(events: &[(&'static str, &[&'static str])]) -> RecordedEvents {
        RecordedEvents {
            events: names(events),
            tables: None,
        }
    }

    #[test]
    fn added_dropped_and_unknown_events_are_distinguished() {
        let follower = follower(&["a", "b"]);
        let before = recorded(&[
            ("Jar", &["b", "c", "new", "old"]),
            ("Lid", &["x"]),
            ("Shelf", &["y"]),
        ]);
        let change = follower.change_from(&before);
        assert_eq!(change.added, names(&[("Jar", &["a"])]));
        assert_eq!(
            change.dropped,
            names(&[("Jar", &["c"]), ("Shelf", &["y"])]),
            "a retired event is not missed"
        );
        assert_eq!(
            change.all(),
            names(&[("Jar", &["a", "c"]), ("Shelf", &["y"])])
        );
        let unknown = names(&[("Jar", &["new"]), ("Lid", &["x"])]);
        assert_eq!(
            follower.unknown_in(&before),
            unknown,
            "another release has recorded them"
        );

        let after = follower.record_over(&before, &change.dropped);
        assert_eq!(
            after,
            recorded(&[("Jar", &["a", "b", "new", "old"]), ("Lid", &["x"])])
        );
        assert_eq!(follower.change_from(&after), Change::default());
        assert_eq!(follower.unknown_in(&after), unknown);
    }

    #[test]
    fn an_unknown_event_matters_only_when_it_comes_if_all_events_are_followed() {
        let mut follower = follower(&["a", "b", "c", "d"]);
        follower.whole.insert("Jar".into());
        let recorded = recorded(&[("Jar", &["a", "b", "c", "d", "new"]), ("Lid", &["x"])]);
        assert_eq!(follower.unknown_in(&recorded), names(&[("Lid", &["x"])]));
    }

    #[test]
    fn events_are_named_in_words() {
        let record = follower(&["a", "b", "c", "d"]).record();
        assert_eq!(describe_events(&record.events), "a, b, c, d of Jar");
    }

    #[test]
    fn white_space_in_definitions_of_tables_does_not_matter() {
        const TABLES: &[Table] =
            &[Table::new("jars", "id TEXT PRIMARY KEY,\n    beans BIGINT")
                .with_indexes(&["beans"])];
        const SAME: &[Table] =
            &[Table::new("jars", "id TEXT  PRIMARY KEY, beans BIGINT").with_indexes(&["beans"])];
        const OTHER: &[Table] = &[Table::new("jars", "id TEXT PRIMARY KEY, beans BIGINT")];
        let recorded = follower(&["a"]).with_tables(TABLES).record();
        assert!(
            !follower(&["a"])
                .with_tables(SAME)
                .has_other_tables_than(&recorded)
        );
        assert!(
            follower(&["a"])
                .with_tables(OTHER)
                .has_other_tables_than(&recorded)
        );
        assert!(
            !follower(&["a"]).has_other_tables_than(&recorded),
            "no read model"
        );
    }
}
