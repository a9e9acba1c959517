//! A module without any prelude.

mod bare {
    #![no_implicit_prelude]

    #[derive(::eventsourcing_core::Aggregate, ::serde::Serialize, ::serde::Deserialize)]
    #[aggregate(snapshot = every(50))]
    pub struct Account {
        owner: ::std::string::String,
    }

    #[::eventsourcing_core::event(schema)]
    impl Account {
        fn opened(owner: ::std::string::String) -> Self {
            Self { owner }
        }
        fn renamed(&mut self, owner: ::std::string::String) {
            self.owner = owner;
        }
    }

    pub struct Accounts(pub ::eventsourcing_core::Application);

    impl ::std::convert::From<::eventsourcing_core::Application> for Accounts {
        fn from(app: ::eventsourcing_core::Application) -> Self {
            Self(app)
        }
    }

    #[derive(::eventsourcing_core::System)]
    pub struct Bank {
        #[application(aggregates(Account))]
        pub accounts: Accounts,
    }
}

fn main() {
    let _ = bare::Bank::definition();
    let _ = bare::AccountEvent::Renamed { owner: "Alice".into() };
}
