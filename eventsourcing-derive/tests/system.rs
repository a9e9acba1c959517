use eventsourcing_core::{Aggregate, event};
use eventsourcing_derive::System;
use serde::{Deserialize, Serialize};

/// Stands in for the runtime.
mod runtime {
    pub use eventsourcing_core::Aggregate;
    use std::marker::PhantomData;

    pub trait System: Sized {
        fn definition() -> Definition;
        fn assemble(applications: &Applications) -> Self;
        fn followers() -> Vec<Follower<Self>>;
    }
    #[derive(Debug, Default, PartialEq)]
    pub struct Definition(Vec<String>);
    impl Definition {
        pub fn new(name: &str) -> Self {
            Self(vec![name.into()])
        }
        pub fn with_application(mut self, name: &str, a: &[&str]) -> Self {
            self.0.push(format!("{name} {a:?}"));
            self
        }
        pub fn with_policy(mut self, name: &str, a: &[(&str, &str)]) -> Self {
            self.0.push(format!("{name} <- {a:?}"));
            self
        }
        pub fn with_projection(mut self, name: &str, a: &[(&str, &str)]) -> Self {
            self.0.push(format!("{name} << {a:?}"));
            self
        }
        pub fn lines(&self) -> &[String] {
            &self.0
        }
    }
    pub trait Policy<A> {}
    pub struct Application(pub String);
    pub struct Applications;
    impl Applications {
        pub fn application(&self, name: &str) -> Application {
            Application(name.into())
        }
    }
    pub struct Follower<S>(PhantomData<S>);
    pub struct FollowerBuilder<S, P>(PhantomData<(S, P)>);
    impl<S> Follower<S> {
        pub fn policy<P>(_: &str, _: fn(&S) -> &P) -> FollowerBuilder<S, P> {
            FollowerBuilder(PhantomData)
        }
        pub fn projection<P>(_: &str, _: fn(&S) -> &P) -> FollowerBuilder<S, P> {
            FollowerBuilder(PhantomData)
        }
    }
    impl<S, P> FollowerBuilder<S, P> {
        pub fn follows<A>(self, _: &str) -> Self
        where
            P: Policy<A>,
        {
            self
        }
    }
    impl<S, P> From<FollowerBuilder<S, P>> for Follower<S> {
        fn from(_: FollowerBuilder<S, P>) -> Self {
            Self(PhantomData)
        }
    }
    pub struct Stores;
    pub struct Runner;
    pub struct Running<S>(PhantomData<S>);
    #[derive(Debug)]
    pub struct SystemError;
    pub struct SystemBuilder<S>(PhantomData<S>);
    impl<S: System> SystemBuilder<S> {
        pub fn new(_: impl Into<Stores>) -> Self {
            Self(PhantomData)
        }
        pub fn with_runner(self, _: Runner) -> Self {
            self
        }
        pub async fn start(self) -> Result<Running<S>, SystemError> {
            Ok(Running(PhantomData))
        }
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Account {}
#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}
#[derive(Aggregate, Serialize, Deserialize)]
struct Ledger {}
#[event]
impl Ledger {
    fn opened() -> Self {
        Self {}
    }
}

struct AccountService(runtime::Application);
impl From<runtime::Application> for AccountService {
    fn from(a: runtime::Application) -> Self {
        Self(a)
    }
}
struct LedgerService(runtime::Application);
impl From<runtime::Application> for LedgerService {
    fn from(a: runtime::Application) -> Self {
        Self(a)
    }
}
impl runtime::Policy<Account> for LedgerService {}
#[derive(Default)]
struct ActivityFeed;
impl runtime::Policy<Account> for ActivityFeed {}

#[derive(System)]
#[system(crate = runtime)]
pub struct EventSourcedBank {
    #[application(name = "book", aggregates(Account))]
    accounts: AccountService,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: LedgerService,
    #[projection(follows(accounts: Account))]
    activity: ActivityFeed,
}

#[test]
fn system() {
    assert_eq!(
        EventSourcedBank::definition().lines(),
        [
            "EventSourcedBank",
            "book [\"Account\"]",
            "ledger [\"Ledger\"]",
            "ledger <- [(\"book\", \"Account\")]",
            "activity << [(\"book\", \"Account\")]"
        ]
    );
    let bank = <EventSourcedBank as runtime::System>::assemble(&runtime::Applications);
    assert_eq!((&*bank.accounts.0.0, &*bank.ledger.0.0), ("book", "ledger"));
    let ActivityFeed = bank.activity;
    assert_eq!(<EventSourcedBank as runtime::System>::followers().len(), 2);
    let _ = EventSourcedBank::builder(runtime::Stores);
}
