//! Names of the prelude mean something else here.
#![allow(dead_code, unused_macros)]

use ::eventsourcing_core as runtime;

mod core {}
mod std {}
mod alloc {}
mod serde_json {}
mod eventsourcing_core {}

struct Result;
struct Option;
struct Vec;
struct String;
struct Box;
struct Ok;
struct Err;
struct Some;
struct None;
trait Clone {}
trait Default {}
trait From {}
trait Into {}
trait Send {}
trait Sync {}
trait Debug {}
trait PartialEq {}
trait Serialize {}
trait Deserialize {}
struct Event;
struct EventType;
struct Fold;
struct UnexpectedEvent;
struct Follower;
struct Definition;
fn event() {}
fn every() {}
macro_rules! vec {
    () => {};
}
macro_rules! unreachable {
    () => {};
}

#[derive(runtime::Aggregate, serde::Serialize, serde::Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    event: u64,
}

#[runtime::event(schema)]
impl Account {
    fn opened(event: u64, field0: u64, other: ::std::option::Option<u64>) -> Self {
        let _ = (field0, other);
        Self { event }
    }
    fn credited(&mut self, event: u64, amount: u64) {
        self.event = event + amount;
    }
    fn index(&mut self, name: ::std::string::String) {
        let _ = name;
    }
}

#[runtime::event(schema)]
#[derive(::std::clone::Clone, serde::Serialize, serde::Deserialize)]
pub enum DoorEvent {
    Opened,
    Ok(u8),
    Err { serializer: u8 },
}

#[runtime::event(schema)]
#[derive(::std::clone::Clone, serde::Serialize, serde::Deserialize)]
pub struct Pinged;

pub struct Accounts(runtime::Application);

impl ::std::convert::From<runtime::Application> for Accounts {
    fn from(app: runtime::Application) -> Self {
        Self(app)
    }
}

#[derive(::std::default::Default)]
pub struct Feed;

impl runtime::Projection<Account> for Feed {
    type Error = ::std::convert::Infallible;

    async fn project(&self, _: &runtime::RecordedEvent<Account>) -> ::std::result::Result<(), Self::Error> {
        ::std::result::Result::Ok(())
    }
}

#[derive(runtime::System)]
pub struct Bank {
    #[application(aggregates(Account))]
    applications: Accounts,
    #[projection(follows(applications: Account))]
    system: Feed,
}

fn main() {
    let _ = Bank::definition();
}
