//! Compares the types of one aggregate with its locked events: the schema shows the place of a
//! change, the samples prove its effect.

use std::collections::BTreeSet;
use std::error::Error;

use eventsourcing_core::CodecError;
use eventsourcing_core::schema::AggregateSchema;
use serde_json::Value;

use crate::breakage::Breakage;
use crate::compare::{Change, Difference, differences};
use crate::lock::LockedEvent;
use crate::stored_form::StoredForm as _;
use crate::stub::upcaster;

/// Returns the changes that would break stored events if these types were released.
pub(crate) fn breakages(aggregate: &AggregateSchema, locked: &[&LockedEvent]) -> Vec<Breakage> {
    let check = Check { aggregate, locked };
    let of_locked = locked.iter().filter_map(|event| check.locked(event));
    let skipped = (0..aggregate.types().len()).filter_map(|index| check.skipped(index));
    of_locked.chain(skipped).collect()
}

/// Returns the breakage of an aggregate that is missing in the system.
pub(crate) fn without_aggregate(aggregate: &str, known: &[&str]) -> Breakage {
    Breakage {
        aggregate: aggregate.into(),
        event: String::new(),
        version: 0,
        changes: vec![format!(
            "the system has no aggregate `{aggregate}` any more; it has {}",
            known.join(", ")
        )],
        remedies: vec![
            format!("if only its type was renamed: `#[aggregate(name = \"{aggregate}\")]`"),
            format!(
                "if its stored name was to change: `#[aggregate(former_names(\"{aggregate}\"))]`, in two releases"
            ),
            "let an application own it as long as stores hold its events".into(),
            "if no store holds any of its events: delete its blocks from the lock".into(),
        ],
        stub: String::new(),
    }
}

struct Check<'a> {
    aggregate: &'a AggregateSchema,
    locked: &'a [&'a LockedEvent],
}

impl Check<'_> {
    fn locked(&self, event: &LockedEvent) -> Option<Breakage> {
        let Some(index) = self.read_as(&event.event) else {
            return self.gone(event);
        };
        let version = index.map(|index| self.aggregate.types()[index].version);
        match (index, version) {
            (Some(index), Some(version)) if self.newest(index) > version => {
                (event.version == self.newest(index)).then(|| lowered(event, version))
            }
            (Some(index), Some(version)) if event.version == version => self.changed(event, index),
            _ => self.unreadable(event),
        }
    }

    /// Returns the event that is read for this name; `Some(None)` if it is split or retired, `None`
    /// if the name is unknown.
    fn read_as(&self, name: &str) -> Option<Option<usize>> {
        let own = self
            .aggregate
            .types()
            .iter()
            .position(|known| known.name == name);
        let former = || {
            self.aggregate
                .former_names()
                .iter()
                .find(|former| former.name == name)
        };
        own.map(Some)
            .or_else(|| former().map(|former| former.index))
    }

    /// Returns the highest version that is locked under any name of the event; 0 if there is none.
    fn newest(&self, index: usize) -> u16 {
        let same = self
            .locked
            .iter()
            .filter(|event| self.read_as(&event.event) == Some(Some(index)));
        same.map(|event| event.version).max().unwrap_or(0)
    }

    /// Returns the breakage of an event whose name is unknown now. It is reported once for all
    /// versions.
    fn gone(&self, event: &LockedEvent) -> Option<Breakage> {
        let newest = self
            .locked
            .iter()
            .filter(|other| other.event == event.event)
            .map(|other| other.version)
            .max();
        if newest != Some(event.version) {
            return None;
        }
        let name = &event.event;
        let renamed = match self.lookalike(event) {
            Some(now) => format!("if it is `{now}` now: `former_names(\"{name}\")` on that"),
            None => {
                format!("if it was renamed: `former_names(\"{name}\")` on the event that it is now")
            }
        };
        let remedies = vec![
            renamed,
            "keep its method: it is read as long as stores hold it".into(),
            format!(
                "if it is read as others now: `split(name = \"{name}\", with = function)` on the block"
            ),
            format!("if it means nothing any more: `retired(\"{name}\")` on the block"),
        ];
        let change = format!("no event is `{name}` any more, and none says that it was");
        Some(breakage(event, vec![change], remedies))
    }

    /// Returns an event with the same payload that the lock does not contain.
    fn lookalike(&self, event: &LockedEvent) -> Option<&'static str> {
        let unknown = |index: &usize| self.newest(*index) == 0;
        let mut new = (0..self.aggregate.types().len()).filter(unknown);
        new.find(|index| self.aggregate.shape(*index) == event.payload)
            .map(|index| self.aggregate.types()[index].name)
    }

    /// Checks the current version: stored events must be read with their old meaning.
    fn changed(&self, event: &LockedEvent, index: usize) -> Option<Breakage> {
        let shape = self.aggregate.shape(index);
        let found = if event.payload == Value::Bool(true) {
            Vec::new()
        } else {
            differences(&event.payload, &shape)
        };
        let found: Vec<_> = found
            .into_iter()
            .filter(|difference| !self.is_read_without_loss(event, difference))
            .collect();
        if found.is_empty() {
            let unreadable = self
                .unreadable(event)
                .map(|breakage| with_stub(breakage, event, &shape, &found));
            // A type that has grown writes its new parts too, so the recorded texts can only be
            // compared while the shape is unchanged.
            return unreadable.or_else(|| {
                written_differently(self.aggregate, event).filter(|_| event.payload == shape)
            });
        }
        let next = u32::from(event.version) + 1;
        let remedies = [format!(
            "raise it to `version = {next}`, and say how that is made of version {}: see below",
            event.version
        )];
        let remedies = remedies
            .into_iter()
            .chain(found.iter().filter_map(Difference::remedy))
            .chain([unreleased(event)]);
        let changes = found.iter().map(ToString::to_string).collect();
        Some(with_stub(
            breakage(event, changes, remedies.collect()),
            event,
            &shape,
            &found,
        ))
    }

    /// Returns `true` if the samples are read without loss in spite of the difference. A schema
    /// does not show the aliases under which serde reads a field or variant; decoding the samples
    /// does.
    fn is_read_without_loss(&self, event: &LockedEvent, difference: &Difference) -> bool {
        let read: Result<Vec<_>, _> = event
            .samples()
            .map(|sample| self.aggregate.read_sample(&sample))
            .collect();
        let Ok(read) = read else { return false };
        let mut samples = event.samples.iter().zip(&read);
        match &difference.change {
            Change::FieldAdded { .. } => !read.is_empty(),
            Change::FieldRemoved { field } => samples.any(|(sample, read)| {
                let mut without = sample.clone();
                difference.path.remove(field, &mut without)
                    && self
                        .aggregate
                        .read_sample(&event.sample(without))
                        .map_or(true, |without| without != *read)
            }),
            Change::VariantRemoved { variant, added } => samples.any(|(sample, read)| {
                let is = |value: &&Value, name: &str| is_variant(value, name);
                let was = difference
                    .path
                    .values(sample)
                    .into_iter()
                    .any(|value| is(&value, variant));
                let now = read
                    .iter()
                    .flat_map(|payload| difference.path.values(payload));
                was && now
                    .into_iter()
                    .any(|value| added.iter().any(|name| is(&value, name)))
            }),
            Change::MadeRequired { .. } | Change::NullRefused | Change::Retyped { .. } => false,
        }
    }

    /// Checks a version that is upcast, split or retired: the samples must be decoded.
    fn unreadable(&self, event: &LockedEvent) -> Option<Breakage> {
        let failed = event
            .samples()
            .find_map(|sample| Some((self.aggregate.read_sample(&sample).err()?, sample.payload)));
        let (error, payload) = failed?;
        let remedy = match &error {
            CodecError::UnknownVersion { .. } => format!(
                "say how version {} is read, too: `split(name = \"{}\", version = {}, with = function)`",
                event.version, event.event, event.version
            ),
            CodecError::Upcast { from, .. } => {
                format!("let the upcaster from version {from} read this; it was stored")
            }
            CodecError::Split { .. } => {
                "let the function that splits it read this; it was stored".into()
            }
            _ => "let its type read this, or upcast it; it was stored".into(),
        };
        let change = format!(
            "a stored event cannot be read: {}\n           {payload}",
            one_line(&error)
        );
        Some(breakage(event, vec![change], vec![remedy]))
    }

    /// Checks that no version between the locked ones and the current one is missing.
    fn skipped(&self, index: usize) -> Option<Breakage> {
        let newest = self.newest(index);
        let now = self.aggregate.types()[index];

        if newest == 0 || now.version <= newest + 1 {
            return None;
        }
        let same = self
            .locked
            .iter()
            .filter(|event| self.read_as(&event.event) == Some(Some(index)));
        let newest_event = same.max_by_key(|event| event.version)?;
        let versions: BTreeSet<u16> = (newest + 1..now.version).collect();
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let change = format!(
            "`{}` is version {} now, but version {} was never locked",
            now.name,
            now.version,
            versions.join(", ")
        );
        let remedies = vec![
            format!(
                "write `version = {}`, with one upcaster for each step up to it",
                newest + 1
            ),
            "if the versions between were released: take the lock of those releases".into(),
        ];
        Some(breakage(newest_event, vec![change], remedies))
    }
}

/// Reports a current version whose samples are written as other bytes than the recorded ones.
pub(crate) fn written_differently(
    aggregate: &AggregateSchema,
    event: &LockedEvent,
) -> Option<Breakage> {
    aggregate.current(event)?;
    let change = event.samples().zip(&event.written).find_map(|(sample, recorded)| {
        match aggregate.is_written_as(&sample, recorded) {
            Ok(true) => None,
            Ok(false) => {
                let now = aggregate.written(&sample).unwrap_or_else(|error| one_line(&error));
                Some(format!("it is written differently\n           recorded  {recorded}\n           now       {now}"))
            }
            Err(error) => Some(format!("it cannot be written any more: {}", one_line(&error))),
        }
    });
    let remedies = vec![
        "if its types are as they were: a crate of this program has turned on a feature that changes how values are \
         written, such as `preserve_order` or `arbitrary_precision` of serde_json, or `serde-float` of rust_decimal; \
         `cargo tree -e features` tells which; turn it off, or write the field in a form of your own with \
         `#[serde(with = …)]`"
            .into(),
        "if the new form was meant, and every release that runs reads it: delete `written` from its block in the lock, and \
         update"
            .into(),
    ];
    change.map(|change| breakage(event, vec![change], remedies))
}

fn lowered(event: &LockedEvent, now: u16) -> Breakage {
    let LockedEvent {
        event: name,
        version,
        ..
    } = event;
    let change = format!("`{name}` is version {now} now, but version {version} was released");
    let remedies = vec![
        format!("write `version = {version}`, with its upcasters, or a higher one"),
        unreleased(event),
    ];
    breakage(event, vec![change], remedies)
}

fn breakage(event: &LockedEvent, changes: Vec<String>, remedies: Vec<String>) -> Breakage {
    let LockedEvent {
        aggregate,
        event,
        version,
        ..
    } = event.clone();
    Breakage {
        aggregate,
        event,
        version,
        changes,
        remedies,
        stub: String::new(),
    }
}

fn with_stub(
    breakage: Breakage,
    event: &LockedEvent,
    shape: &Value,
    found: &[Difference],
) -> Breakage {
    Breakage {
        stub: upcaster(&event.event, event.version, &event.payload, shape, found),
        ..breakage
    }
}

fn unreleased(event: &LockedEvent) -> String {
    format!(
        "if version {} was never released: delete its block from the lock, and update",
        event.version
    )
}

/// Returns `true` if the value is the variant, in any of the forms in which serde writes one.
fn is_variant(value: &Value, variant: &str) -> bool {
    match value {
        Value::String(name) => name == variant,
        Value::Object(fields) => {
            fields.contains_key(variant) || fields.values().any(|tag| tag == variant)
        }
        _ => false,
    }
}

/// Returns an error and its sources in one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}
