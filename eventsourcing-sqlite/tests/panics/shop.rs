//! A system whose user code reaches a point in every call.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsourcing_core::snapshot::{Progress, SnapshotPolicy};
use eventsourcing_core::sql::SqlError;
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Clock, Due, Id, IdSource, Policy, Projection,
    RandomIds, ReadModel, RecordedEvent, SqlProjection, SqlReadModel, System, SystemClock, Table,
    Timers, Tx, UnitOfWork, event, values,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::points::{POISON, Point, is_armed, reach, reach_always};

/// A number whose serialization reaches the points given with it.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $encode:expr, $decode:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, PartialEq)]
        pub(crate) struct $name(pub(crate) u32);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                reach($encode, self.0);
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u32::deserialize(deserializer)?;
                reach($decode, number);
                Ok(Self(number))
            }
        }
    )*};
}

numbers! {
    /// The quantity in an event of an order.
    Quantity: Point::EncodeEvent, Point::DecodeEvent;
    /// The last quantity of an order, in its state.
    Last: Point::EncodeState, Point::DecodeState;
    /// The weight in an event of a parcel.
    Weight: Point::EncodeRecorded, Point::DecodeLoaded;
    /// The last weight of a parcel, in its state.
    LastWeight: Point::EncodeOwnState, Point::DecodeState;
    /// The payload of a timer.
    Reminder: Point::EncodeTimer, Point::DecodeTimer;
    /// The number in a rejection.
    Refused: Point::EncodeRefusal, Point::DecodeRefusal;
}

impl Clone for Quantity {
    fn clone(&self) -> Self {
        reach(Point::CloneEvent, self.0);
        Self(self.0)
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

#[derive(Aggregate, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) total: u32,
    last: Last,
}

#[event(split(name = "Doubled", with = doubled))]
impl Order {
    fn placed(quantity: Quantity) -> Self {
        reach(Point::FoldFirst, quantity.0);
        Self {
            total: quantity.0,
            last: Last(quantity.0),
        }
    }
    #[event(version = 2, upcast(from = 1, with = in_quantities))]
    fn added(&mut self, quantity: Quantity) {
        reach(Point::FoldNext, quantity.0);
        self.total += quantity.0;
        self.last = Last(quantity.0);
    }
}

/// The first version of [`OrderEvent::Added`].
#[derive(Deserialize, Serialize)]
struct Amount {
    amount: u32,
}

#[derive(Serialize)]
struct InQuantities {
    quantity: u32,
}

fn in_quantities(old: Amount) -> InQuantities {
    reach(Point::Upcast, old.amount);
    InQuantities {
        quantity: old.amount,
    }
}

fn doubled(old: Amount) -> [OrderEvent; 2] {
    reach(Point::Split, old.amount);
    [
        OrderEvent::Added {
            quantity: Quantity(old.amount),
        },
        OrderEvent::Added {
            quantity: Quantity(old.amount),
        },
    ]
}

impl OrderEvent {
    pub(crate) fn quantity(&self) -> u32 {
        let (Self::Placed { quantity } | Self::Added { quantity }) = self;
        quantity.0
    }
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("refused")]
pub(crate) struct Refusal {
    refused: Refused,
}

impl Order {
    pub(crate) fn add(&self, quantity: u32) -> Result<OrderEvent, Refusal> {
        reach(Point::Decide, quantity);
        Ok(OrderEvent::Added {
            quantity: Quantity(quantity),
        })
    }
    pub(crate) fn refuse(&self, quantity: u32) -> Result<OrderEvent, Refusal> {
        Err(Refusal {
            refused: Refused(quantity),
        })
    }
}

/// A policy that takes a snapshot with each save.
pub(crate) struct EachTime(pub(crate) Point);

impl SnapshotPolicy for EachTime {
    fn is_due(&self, _: &Progress) -> bool {
        reach_always(self.0);
        true
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Watch;

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        reach_always(Point::Clock);
        SystemClock.now()
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Numbers;

impl IdSource for Numbers {
    fn next_id(&self) -> Uuid {
        reach_always(Point::NewId);
        RandomIds.next_id()
    }
}

pub(crate) struct Orders;

impl From<Application> for Orders {
    fn from(_: Application) -> Self {
        Self
    }
}

/// The part of an order that has been shipped, and the reminders of its timers.
#[derive(Aggregate, Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    last: LastWeight,
}

#[event]
impl Parcel {
    fn packed() -> Self {
        Self {
            last: LastWeight(0),
        }
    }
    fn filled(&mut self, weight: Weight) {
        reach(Point::FoldRecorded, weight.0);
        self.last = LastWeight(weight.0);
    }
    fn reminded(&mut self, weight: u32) {
        self.last = LastWeight(weight);
    }
}

/// An error whose text is produced by user code.
pub(crate) struct Unshowable;

impl fmt::Display for Unshowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        reach_always(Point::ErrorDisplay);
        f.write_str("a bad quantity")
    }
}

impl fmt::Debug for Unshowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        reach_always(Point::ErrorDebug);
        f.write_str("Unshowable")
    }
}

impl Error for Unshowable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        reach_always(Point::ErrorSource);
        None
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ShippingError {
    App(#[from] ApplicationError),
    Unshowable(#[from] Unshowable),
}

pub(crate) struct Shipping {
    pub(crate) app: Application,
}

impl From<Application> for Shipping {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

/// The key of an event's timer: a different one for each part of each event.
struct Key<'a>(&'a RecordedEvent<Order>);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordedEvent {
            aggregate_id,
            version,
            part,
            payload,
            ..
        } = self.0;
        reach(Point::TimerKey, payload.quantity());
        write!(f, "{aggregate_id}/{version}/{part}")
    }
}

pub(crate) fn parcel_of(order: Id<Order>) -> Id<Parcel> {
    Id::from_uuid(order.as_uuid())
}

/// Returns the parcel that is stored beforehand and loaded for the poisonous order.
pub(crate) fn poisonous_parcel() -> Id<Parcel> {
    Id::named("poisonous")
}

impl Policy<Order> for Shipping {
    type Error = ShippingError;

    async fn react(
        &self,
        event: &RecordedEvent<Order>,
        work: &mut UnitOfWork,
    ) -> Result<(), ShippingError> {
        let quantity = event.payload.quantity();
        reach(Point::React, quantity);
        let is_about_errors = [Point::ErrorDisplay, Point::ErrorDebug, Point::ErrorSource]
            .into_iter()
            .any(is_armed);
        if quantity == POISON && is_about_errors {
            return Err(Unshowable.into());
        }
        if quantity == POISON {
            work.load(poisonous_parcel()).await?;
        }
        let create = || {
            reach(Point::CreateWithin, quantity);
            ParcelEvent::Packed
        };
        let parcel = work
            .load_or_create(parcel_of(event.aggregate_id), create)
            .await?;
        parcel.record(ParcelEvent::Filled {
            weight: Weight(quantity),
        });
        work.schedule(event.recorded_at, Key(event), &Reminder(quantity));
        Ok(())
    }
}

impl Timers for Shipping {
    type Timer = Reminder;
    type Error = ApplicationError;

    async fn due(
        &self,
        timer: &Due<Reminder>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let Reminder(weight) = timer.payload;
        reach(Point::Due, weight);
        let order = timer
            .key
            .split('/')
            .next()
            .and_then(|id| id.parse().ok())
            .expect("the key begins with an id");
        work.load(parcel_of(Id::from_uuid(order)))
            .await?
            .record(ParcelEvent::Reminded { weight });
        Ok(())
    }
}

/// All quantities, in the memory of this process.
#[derive(Default)]
pub(crate) struct List(pub(crate) Mutex<Vec<u32>>);

impl Projection<Order> for List {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Order>) -> Result<(), Self::Error> {
        let quantity = event.payload.quantity();
        reach(Point::ProjectInMemory, quantity);
        self.0
            .lock()
            .expect("no panic while it is locked")
            .push(quantity);
        Ok(())
    }
}

/// All quantities, in a foreign system.
pub(crate) struct Mirror(pub(crate) Arc<Mutex<Vec<u32>>>);

impl Projection<Order> for Mirror {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Order>) -> Result<(), Self::Error> {
        let quantity = event.payload.quantity();
        reach(Point::ProjectElsewhere, quantity);
        self.0
            .lock()
            .expect("no panic while it is locked")
            .push(quantity);
        Ok(())
    }
}

/// All quantities, in a table.
pub(crate) struct Report(pub(crate) ReadModel);

impl From<ReadModel> for Report {
    fn from(model: ReadModel) -> Self {
        Self(model)
    }
}

impl SqlReadModel for Report {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "report",
        "position BIGINT, part BIGINT, quantity BIGINT",
    )];
}

impl SqlProjection<Order> for Report {
    type Error = SqlError;

    async fn project(&self, event: &RecordedEvent<Order>, tx: &mut Tx<'_>) -> Result<(), SqlError> {
        let quantity = event.payload.quantity();
        let sql = "INSERT INTO {report} (position, part, quantity) VALUES ($1, $2, $3)";
        tx.execute(sql, &values![event.position, event.part, quantity])
            .await?;
        reach(Point::ProjectInSql, quantity);
        Ok(())
    }
}

#[derive(System)]
pub(crate) struct Shop {
    /// Orders are appended by separate applications, as if by another process.
    #[application(aggregates(Order))]
    #[expect(dead_code, reason = "no test calls it")]
    orders: Orders,
    #[application(aggregates(Parcel), follows(orders: Order), timers)]
    pub(crate) shipping: Shipping,
    #[projection(follows(orders: Order))]
    pub(crate) list: List,
    #[projection(foreign, follows(orders: Order))]
    pub(crate) mirror: Mirror,
    #[projection(sql, follows(orders: Order))]
    pub(crate) report: Report,
}

/// The followers of the shop.
pub(crate) const FOLLOWERS: [&str; 4] = ["shipping", "list", "mirror", "report"];

/// The time limit of each wait. A follower that takes longer has ended silently.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
