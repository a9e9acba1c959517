//! [`SystemSchema`]: all events of a system, taken from the types, compared with the lock, and
//! recorded in it.

use std::path::Path;

use eventsourcing_core::schema::{AggregateSchema, DescribedEvent, DescribedSystem};
use eventsourcing_core::{Aggregate, CodecError, Definition};
use serde_json::Value;

use crate::breakage::{Breakage, Comparison};
use crate::check::{breakages, one_line, without_aggregate, written_differently};
use crate::compare::{Difference, differences};
use crate::generated;
use crate::lock::{LockError, LockedEvent, SchemaLock};
use crate::stored_form::StoredForm as _;

/// The schemas of all stored events of a system.
///
/// ```
/// use eventsourcing_schema::SystemSchema;
/// use eventsourcing_core::{Aggregate, Application, System, event};
/// # use serde::{Deserialize, Serialize};
///
/// # #[derive(Aggregate, Serialize, Deserialize)]
/// # struct Account {}
/// #[event(schema)]
/// impl Account {
///     fn opened(owner: String) -> Self { Self {} }
/// }
/// # struct Accounts;
/// # impl From<Application> for Accounts { fn from(_: Application) -> Self { Self } }
///
/// #[derive(System)]
/// #[system(schema)]
/// struct Bank {
///     #[application(aggregates(Account))]
///     accounts: Accounts,
/// }
///
/// let lock = std::env::temp_dir().join(format!("{}.lock.json", std::process::id()));
/// let recorded = SystemSchema::of::<Bank>().update_file(&lock)?;
/// assert_eq!(recorded, ["Account / Opened / version 1: the event is new"]);
/// SystemSchema::of::<Bank>().assert_locked(&lock);
/// # std::fs::remove_file(lock).unwrap();
/// # Ok::<(), eventsourcing_schema::LockError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SystemSchema {
    pub(crate) name: &'static str,
    pub(crate) aggregates: Vec<AggregateSchema>,
    /// The senders and receivers of events, if they are known.
    pub(crate) definition: Option<Definition>,
    /// Samples that the user has supplied.
    given: Vec<LockedEvent>,
}

impl SystemSchema {
    /// Returns the schema of a system, with all its aggregates.
    #[must_use]
    pub fn of<S: DescribedSystem>() -> Self {
        let definition = S::definition();
        Self {
            name: definition.name,
            aggregates: S::aggregates(),
            definition: Some(definition),
            given: Vec::new(),
        }
    }

    /// Returns an empty schema for aggregates that no [`System`](eventsourcing_core::System) names. Add them one
    /// by one.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            aggregates: Vec::new(),
            definition: None,
            given: Vec::new(),
        }
    }

    /// Adds the events of an aggregate.
    #[must_use]
    pub fn with<A>(mut self) -> Self
    where
        A: Aggregate,
        A::Event: DescribedEvent,
    {
        self.aggregates.push(AggregateSchema::of::<A>());
        self
    }

    /// Adds a payload that was stored, or could have been: instead of generated samples, or for a
    /// version that is older than the lock.
    ///
    /// # Panics
    /// The payload cannot be written as JSON.
    #[must_use]
    pub fn with_sample<A: Aggregate>(
        mut self,
        event: &str,
        version: u16,
        payload: impl serde::Serialize,
    ) -> Self {
        let payload = serde_json::to_value(payload).expect("a sample can be written as JSON");
        let same = |given: &&mut LockedEvent| {
            (&*given.aggregate, &*given.event, given.version) == (A::NAME, event, version)
        };
        match self.given.iter_mut().find(same) {
            Some(given) => given.samples.push(payload),
            None => self.given.push(LockedEvent {
                aggregate: A::NAME.into(),
                event: event.into(),
                version,
                payload: true.into(),
                samples: vec![payload],
                written: Vec::new(),
            }),
        }
        self
    }

    /// Checks the lock in `path`, relative to the package: the one line of a test. Panics with a
    /// remedy unless the lock equals the types.
    ///
    /// With `EVENTS_LOCK=update` in the environment additions are recorded first, and only breaking
    /// changes fail.
    ///
    /// # Panics
    /// A change would break stored events, or is not recorded; the lock cannot be read or written.
    #[track_caller]
    pub fn assert_locked(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let update = std::env::var_os("EVENTS_LOCK").is_some_and(|wish| wish == "update");
        let outcome = if update {
            self.update_file(path).map(drop)
        } else {
            Ok(())
        };
        match outcome.and_then(|()| self.compare(&SchemaLock::read(path)?)) {
            Ok(comparison) if comparison.is_locked() => {}
            Ok(comparison) if comparison.breakages.is_empty() => {
                panic!(
                    "{}: {comparison}\n\nto record it: EVENTS_LOCK=update cargo test; then review the file",
                    path.display()
                )
            }
            Ok(comparison) => panic!("{}: {comparison}", path.display()),
            Err(error) => panic!("{}: {}", path.display(), one_line(&error)),
        }
    }

    /// Brings the lock in a file up to date, or creates it. Returns the additions, one line each.
    ///
    /// # Errors
    /// [`LockError`]. The file is as before.
    pub fn update_file(&self, path: impl AsRef<Path>) -> Result<Vec<String>, LockError> {
        let path = path.as_ref();
        let lock = match SchemaLock::read(path) {
            Err(LockError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                SchemaLock::default()
            }
            lock => lock?,
        };
        let updated = self.update(&lock)?;
        if updated != lock {
            updated.write(path)?;
        }
        Ok(news(&lock, &updated))
    }

    /// Returns the lock with all additions. No block is removed.
    ///
    /// # Errors
    /// [`LockError::Broken`]: a change would break stored events. [`LockError::Sample`]: a sample
    /// cannot be generated.
    pub fn update(&self, lock: &SchemaLock) -> Result<SchemaLock, LockError> {
        let comparison = Comparison {
            breakages: self.breakages(lock),
            ..Comparison::default()
        };
        match comparison.breakages.is_empty() {
            true => self.merge(lock),
            false => Err(LockError::Broken(comparison.to_string())),
        }
    }

    /// Compares the types with the lock.
    ///
    /// # Errors
    /// [`LockError::Sample`]: a sample of an addition cannot be generated.
    pub fn compare(&self, lock: &SchemaLock) -> Result<Comparison, LockError> {
        let breakages = self.breakages(lock);
        let unrecorded = if breakages.is_empty() {
            news(lock, &self.merge(lock)?)
        } else {
            Vec::new()
        };
        let samples = lock.events.iter().map(|event| event.samples.len()).sum();
        Ok(Comparison {
            breakages,
            unrecorded,
            versions: lock.events.len(),
            samples,
        })
    }

    fn breakages(&self, lock: &SchemaLock) -> Vec<Breakage> {
        let of_known = self.aggregates.iter().flat_map(|aggregate| {
            let locked: Vec<_> = lock
                .events
                .iter()
                .filter(|event| aggregate.is_called(&event.aggregate))
                .collect();
            breakages(aggregate, &locked)
        });
        let known: Vec<_> = self.aggregates.iter().map(AggregateSchema::name).collect();
        let mut gone: Vec<_> = lock
            .events
            .iter()
            .map(|event| event.aggregate.as_str())
            .collect();
        gone.retain(|name| {
            !self
                .aggregates
                .iter()
                .any(|aggregate| aggregate.is_called(name))
        });
        gone.dedup();
        of_known
            .chain(
                gone.into_iter()
                    .map(|aggregate| without_aggregate(aggregate, &known)),
            )
            .collect()
    }

    fn merge(&self, lock: &SchemaLock) -> Result<SchemaLock, LockError> {
        let mut events = lock.events.clone();
        for aggregate in &self.aggregates {
            for index in 0..aggregate.types().len() {
                self.record(aggregate, index, &mut events)?;
            }
        }
        for given in &self.given {
            let aggregate = self
                .aggregates
                .iter()
                .find(|aggregate| aggregate.name() == given.aggregate);
            record_given(
                aggregate.ok_or_else(|| of_nobody(self.name, given))?,
                given,
                &mut events,
            )?;
        }
        for event in &mut events {
            self.record_written(lock, event)?;
        }
        SchemaLock::of_events(events)
    }

    /// Records the texts of the samples of a current version that is new, or has new samples or
    /// another shape.
    fn record_written(&self, lock: &SchemaLock, event: &mut LockedEvent) -> Result<(), LockError> {
        let Some(aggregate) = self
            .aggregates
            .iter()
            .find(|aggregate| aggregate.current(event).is_some())
        else {
            return Ok(());
        };
        let is_recorded = lock
            .events
            .iter()
            .any(|locked| locked == event && locked.written.len() == locked.samples.len());
        if !is_recorded {
            let written = event.samples().map(|sample| {
                let written = aggregate.written(&sample);
                written.map_err(|error| {
                    LockError::Sample(unwritable(aggregate, event, &sample.payload, &error))
                })
            });
            event.written = written.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Checks that this program writes the samples of the lock byte for byte like the one that
    /// recorded them. This program may have been built with other features of other crates.
    ///
    /// # Errors
    /// [`LockError::Broken`]: the samples that are written differently, with a remedy.
    pub fn check_written(&self, lock: &SchemaLock) -> Result<(), LockError> {
        let breakages = self.aggregates.iter().flat_map(|aggregate| {
            lock.events
                .iter()
                .filter_map(|event| written_differently(aggregate, event))
        });
        match breakages
            .map(|breakage| breakage.to_string())
            .collect::<Vec<_>>()
        {
            breakages if breakages.is_empty() => Ok(()),
            breakages => Err(LockError::Broken(format!(
                "{} would store events differently from the schema lock:\n\n{}",
                self.name,
                breakages.join("\n\n")
            ))),
        }
    }

    /// Records the current version of an event: its shape, and samples of it if it is new or has
    /// grown.
    fn record(
        &self,
        aggregate: &AggregateSchema,
        index: usize,
        events: &mut Vec<LockedEvent>,
    ) -> Result<(), LockError> {
        let known = aggregate.types()[index];
        let payload = aggregate.shape(index);

        let place = |event: &LockedEvent| {
            (&*event.aggregate, &*event.event, event.version)
                == (aggregate.name(), known.name, known.version)
        };
        let place = events.iter().position(place).unwrap_or_else(|| {
            let aggregate = aggregate.name().into();
            let event = known.name.into();

            events.push(LockedEvent {
                aggregate,
                event,
                version: known.version,
                payload: true.into(),
                samples: Vec::new(),
                written: Vec::new(),
            });
            events.len() - 1
        });
        let event = &mut events[place];
        if event.payload != payload || event.samples.is_empty() {
            event.payload = payload;
            if !self.is_given(event) {
                let samples = generated::samples(&aggregate.described(index));
                samples
                    .into_iter()
                    .try_for_each(|sample| add_sample(aggregate, event, sample))?;
            }
        }
        Ok(())
    }

    fn is_given(&self, event: &LockedEvent) -> bool {
        let key =
            |event: &LockedEvent| (event.aggregate.clone(), event.event.clone(), event.version);
        self.given.iter().any(|given| key(given) == key(event))
    }
}

fn record_given(
    aggregate: &AggregateSchema,
    given: &LockedEvent,
    events: &mut Vec<LockedEvent>,
) -> Result<(), LockError> {
    let same = |event: &LockedEvent| {
        (&event.aggregate, &event.event, event.version)
            == (&given.aggregate, &given.event, given.version)
    };
    let place = events.iter().position(same).unwrap_or_else(|| {
        events.push(LockedEvent {
            samples: Vec::new(),
            ..given.clone()
        });
        events.len() - 1
    });
    given
        .samples
        .iter()
        .try_for_each(|sample| add_sample(aggregate, &mut events[place], sample.clone()))
}

fn of_nobody(system: &str, given: &LockedEvent) -> LockError {
    let LockedEvent {
        aggregate, event, ..
    } = given;
    LockError::Sample(format!(
        "a sample is given of {event} of {aggregate}, but {system} has no aggregate `{aggregate}`"
    ))
}

/// Adds a sample, which must be decodable.
fn add_sample(
    aggregate: &AggregateSchema,
    event: &mut LockedEvent,
    payload: Value,
) -> Result<(), LockError> {
    if event.samples.contains(&payload) {
        return Ok(());
    }
    let sample = event.sample(payload);
    match aggregate.read_sample(&sample) {
        Ok(_) => event.samples.push(sample.payload),
        Err(error) => {
            return Err(LockError::Sample(undecodable(
                aggregate,
                event,
                &sample.payload,
                &error,
            )));
        }
    }
    Ok(())
}

fn undecodable(
    aggregate: &AggregateSchema,
    event: &LockedEvent,
    payload: &Value,
    error: &CodecError,
) -> String {
    let LockedEvent {
        event: name,
        version,
        ..
    } = event;
    format!(
        "the sample of version {version} of {name} of {} cannot be read: {}\n  the sample  {payload}\n  to do       \
         correct the type's `JsonSchema`; give it an example with `#[schemars(example = …)]`, or give the payload with \
         `.with_sample::<{}>({name:?}, {version}, json!({{ … }}))`",
        aggregate.name(),
        one_line(error),
        aggregate.name(),
    )
}

fn unwritable(
    aggregate: &AggregateSchema,
    event: &LockedEvent,
    payload: &Value,
    error: &CodecError,
) -> String {
    let LockedEvent {
        event: name,
        version,
        ..
    } = event;
    format!(
        "the event that is read from a sample of version {version} of {name} of {} cannot be stored: {}\n  the sample  \
         {payload}",
        aggregate.name(),
        one_line(error),
    )
}

/// Returns the additions of the second lock.
fn news(before: &SchemaLock, after: &SchemaLock) -> Vec<String> {
    after
        .events
        .iter()
        .filter_map(|event| news_of(before, event))
        .collect()
}

fn news_of(before: &SchemaLock, event: &LockedEvent) -> Option<String> {
    let same_event =
        |other: &&LockedEvent| (&other.aggregate, &other.event) == (&event.aggregate, &event.event);
    let same = before
        .events
        .iter()
        .filter(same_event)
        .find(|other| other.version == event.version);
    let what = match same {
        Some(same) if same == event => return None,
        Some(same) if (&same.payload, &same.samples) == (&event.payload, &event.samples) => {
            "what it is written as is new".into()
        }
        Some(same) if same.payload == event.payload || same.payload == Value::Bool(true) => {
            "samples are new".into()
        }
        Some(same) => grown(&same.payload, &event.payload),
        None if before.events.iter().any(|other| same_event(&other)) => "the version is new".into(),
        None => "the event is new".into(),
    };
    Some(format!(
        "{} / {} / version {}: {what}",
        event.aggregate, event.event, event.version
    ))
}

fn grown(before: &Value, after: &Value) -> String {
    let novelties: Vec<_> = differences(after, before)
        .iter()
        .map(Difference::novelty)
        .collect();
    match &*novelties {
        [] => "its description has changed, it is read as before".into(),
        novelties => novelties.join(", "),
    }
}
