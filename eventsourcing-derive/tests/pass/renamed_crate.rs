//! The runtime has another name and is used in nested modules, and the derives are above `#[event]`.

extern crate eventsourcing_core as es;

pub mod framework {
    pub use es::*;
}

pub mod domain {
    pub mod account {
        use serde::{Deserialize, Serialize};

        #[derive(es::Aggregate, Serialize, Deserialize)]
        #[aggregate(crate = crate::framework, snapshot = never(), event = AccountHistory)]
        pub struct Account {}

        #[es::event(crate = crate::framework, enum = AccountHistory, schema)]
        #[cfg(all())]
        impl self::Account {
            /// Opened.
            fn opened() -> Account {
                Account {}
            }
            fn merged(&mut self, #[serde(skip)] _with: Option<Box<Self>>) {}
            fn r#final(&mut self, r#type: u32, _1st: u32) -> () {}
        }

        #[es::event]
        #[cfg(any())]
        impl NotInThisBuild {}

        impl Clone for Account {
            fn clone(&self) -> Self {
                Self {}
            }
        }

        impl std::fmt::Debug for Account {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Account")
            }
        }

        impl PartialEq for Account {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }
    }

    pub mod door {
        use serde::{Deserialize, Serialize};

        #[derive(Clone, Serialize, Deserialize)]
        #[es::event(crate = es, schema)]
        pub enum DoorEvent {
            #[event(name = "Built")]
            #[serde(rename = "ignored")]
            Opened,
        }
    }
}

pub struct Accounts(es::Application);

impl From<es::Application> for Accounts {
    fn from(app: es::Application) -> Self {
        Self(app)
    }
}

#[derive(es::System)]
#[system(crate = es, name = "Bank", schema)]
struct RenamedBank {
    #[application(name = "books", aggregates(domain::account::Account))]
    accounts: Accounts,
}

fn main() {
    let _ = RenamedBank::definition();
    let _ = domain::account::AccountHistory::Final { r#type: 1, _1st: 2 };
    let types = <domain::door::DoorEvent as es::Event>::TYPES;
    assert_eq!(types, [es::EventType { name: "Built", version: 1 }]);
    let _ = |bank: RenamedBank| bank.accounts.0;
}
