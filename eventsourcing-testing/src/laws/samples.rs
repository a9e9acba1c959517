//! The law of samples: each earlier version of an event that can still be read has a sample, and every sample can be read.

use eventsourcing_core::{Aggregate, Event, LegacyEvent};

use super::checks::read_twice;
use super::panics::catching;
use super::{Broken, Sample, broken};

/// An earlier version of an event, which the program reads and does not write any more.
struct Version<'a> {
    /// The names under which it may be stored.
    names: Vec<&'a str>,
    number: u16,
}

/// Checks the samples of an aggregate.
///
/// # Errors
/// There is no sample of an earlier version, or one cannot be read.
pub(super) fn check<A: Aggregate>(samples: &[Sample]) -> Result<(), Broken> {
    samples.iter().try_for_each(read::<A>)?;
    let is_covered = |version: &Version<'_>| {
        let is_one = |sample: &Sample| {
            sample.version == version.number && version.names.contains(&&*sample.name)
        };
        samples.iter().any(is_one)
    };
    match earlier_versions::<A::Event>()
        .into_iter()
        .find(|version| !is_covered(version))
    {
        None => Ok(()),
        Some(Version { names, number }) => {
            let name = names[0];
            let advice = format!(
                "give one as it is stored: `laws!({}, samples = [(\"{name}\", {number}, json!({{ … }}))])`",
                A::NAME
            );
            Err(broken(
                format!("there is no sample of version {number} of {name}, which stores may hold"),
                advice,
            ))
        }
    }
}

fn read<A: Aggregate>(sample: &Sample) -> Result<(), Broken> {
    let stored = sample.to_stored(A::NAME);
    let read = catching(|| read_twice::<A::Event>(&stored)).unwrap_or_else(Err);
    read.map(drop).map_err(|reason| {
        let Sample { name, version, payload } = sample;
        broken(
            format!("the sample of version {version} of {name}, {payload}, cannot be read: {reason}"),
            "let the upcaster or the split accept every payload that was ever stored, and depend on nothing else",
        )
    })
}

/// Returns the earlier versions of all events, without retired ones, because their payloads are not read.
fn earlier_versions<E: Event>() -> Vec<Version<'static>> {
    let splits = E::FORMER
        .iter()
        .filter(|former| former.index().is_none() && !former.is_retired());
    let splits = splits.map(|former| Version {
        names: vec![former.name()],
        number: former.version_max().unwrap_or(1),
    });
    let upcast = E::TYPES.iter().enumerate().flat_map(|(index, event_type)| {
        let names = E::FORMER
            .iter()
            .filter(move |former| former.index() == Some(index))
            .map(LegacyEvent::name);
        let names: Vec<_> = [event_type.name].into_iter().chain(names).collect();
        (1..event_type.version).map(move |number| Version {
            names: names.clone(),
            number,
        })
    });
    upcast.chain(splits).collect()
}
