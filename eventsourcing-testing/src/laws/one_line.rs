//! [`laws!`](crate::laws!): one line in a user's tests.

/// Tests an aggregate or a policy against the laws of event sourcing: one line expands to one test for each law.
///
/// ```
/// use eventsourcing_testing::laws;
/// # use eventsourcing_core::{Aggregate, ApplicationError, Application, Id, Policy, RecordedEvent, UnitOfWork, event};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Debug, Serialize, Deserialize)]
/// struct Jar { beans: u32 }
///
/// #[event]
/// impl Jar {
///     fn filled(beans: u32) -> Self { Self { beans } }
///     fn taken(&mut self, beans: u32) { self.beans -= beans; }
/// }
///
/// impl Jar {
///     fn take(&self, beans: u32) -> Result<JarEvent, &'static str> {
///         if beans > self.beans { Err("there are not as many") } else { Ok(JarEvent::Taken { beans }) }
///     }
/// }
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Shelf { jars: u32 }
/// # #[event] impl Shelf {
/// #     fn built() -> Self { Self { jars: 0 } }
/// #     fn jar_added(&mut self, _jar: Id<Jar>) { self.jars += 1; }
/// # }
/// # struct Keeper;
/// # impl From<Application> for Keeper { fn from(_: Application) -> Self { Self } }
/// # impl Policy<Jar> for Keeper {
/// #     type Error = ApplicationError;
/// #     async fn react(&self, event: &RecordedEvent<Jar>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
/// #         let shelf = work.load_or_create(Id::<Shelf>::named("shelf"), || ShelfEvent::Built).await?;
/// #         shelf.record(ShelfEvent::JarAdded { jar: event.aggregate_id });
/// #         Ok(())
/// #     }
/// # }
///
/// laws!(Shelf);
/// laws!(Jar, decide = [Jar::take]);
/// laws!(policy Keeper: Jar);
/// # fn main() {
/// #     use eventsourcing_testing::laws::{Laws, PolicyLaws};
/// #     Laws::<Shelf>::new().folding_never_panics();
/// #     Laws::<Jar>::new().with_decision(Jar::take).folding_never_panics();
/// #     PolicyLaws::<Keeper, Jar>::new().an_event_processed_twice_leads_to_the_same();
/// # }
/// ```
///
/// # The laws of an aggregate
///
/// - `folding_never_panics`, for any events in any order; an event out of place is an [`UnexpectedEvent`] and changes nothing.
/// - `replay_gives_what_was_recorded`: the state that recorded events is the one that is replayed from them, each time.
/// - `a_snapshot_and_the_events_after_it_are_all_events`, at every version.
/// - `what_is_stored_can_be_read`: events that are written now, and samples of the events that earlier releases have stored.
///
/// States are compared in the form that serde writes, and, if the state has `Debug`, with the fields that serde skips.
///
/// # The law of a policy
///
/// - `an_event_processed_twice_leads_to_the_same`: from the same start, the policy records the same events and schedules the
///   same timers. If the policy implements `Timers`, the same holds for timers that become due.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `decide = [Jar::take, \|jar: &Jar, beans: u8\| …]` | once the aggregate exists, only these decisions record events; their arguments, at most three, are generated, of any size |
/// | `events = [JarEvent::Filled { beans: 1 }]` | examples, which replace generated events of the same types |
/// | `samples = [("Filled", 1, json!({ "beans": "1" }))]` | events that earlier releases have stored: name, version and payload |
/// | `given = [Shelf]` | for a policy: aggregates that exist before; ids in generated events are chosen among theirs |
///
/// Events are generated from their types through serde: small numbers, a few ids, and texts of many kinds, of which the
/// generator learns those that a field accepts. A law for which no event could be generated fails, and names the option to write.
///
/// A failure shows the shortest history that was found, the advice, and the seed: `EVENTSOURCING_TEST_SEED` repeats the run.
///
/// [`UnexpectedEvent`]: eventsourcing_core::UnexpectedEvent
#[macro_export]
macro_rules! laws {
    ($($subject:tt)*) => { $crate::private::laws! { [$crate] $($subject)* } };
}
