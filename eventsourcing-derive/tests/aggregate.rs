//! The promises of `#[derive(Aggregate)]`: the stored name, the snapshot policy, the fingerprint.

use eventsourcing_core::snapshot::{Progress, SnapshotPolicy};
use eventsourcing_core::store::Version;
use eventsourcing_core::{Aggregate, Fold, UnexpectedEvent, event};
use serde::{Deserialize, Serialize};

#[event]
#[derive(Clone, Serialize, Deserialize)]
struct Happened;

/// Events that can be folded into any state.
macro_rules! fold {
    ($($name:ident)*) => {
        $(impl Fold<Happened> for $name {
            fn create(_: Happened) -> Result<Self, UnexpectedEvent> {
                Err(UnexpectedEvent)
            }
            fn apply(&mut self, _: Happened) -> Result<(), UnexpectedEvent> {
                Err(UnexpectedEvent)
            }
        })*
    };
}
fold! { Plain Named Renamed Often Doubled Either }

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened)]
struct Plain {}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened, name = "account")]
struct Named {}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened)]
#[aggregate(name = "account")]
struct Renamed(u32);

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened, snapshot = every(10))]
struct Often;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened, snapshot = Doubling)]
struct Doubled {}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = Happened)]
enum Either {
    One { content: u32 },
    Other(u32),
}

struct Doubling;

impl SnapshotPolicy for Doubling {
    fn is_due(&self, progress: &Progress) -> bool {
        progress.after.as_u64().is_power_of_two()
    }
}

fn is_due<A: Aggregate>(after: u64) -> bool {
    A::snapshot_policy().is_due(&Progress::new(Version::new(after - 1), Version::new(after)))
}

#[test]
fn the_stored_name_is_that_of_the_type_unless_chosen() {
    assert_eq!(Plain::NAME, "Plain");
    assert_eq!(Named::NAME, "account");
    assert_eq!(Renamed::NAME, "account");
    assert_eq!(Either::NAME, "Either");
}

#[test]
fn snapshots_are_kept_as_the_policy_says_and_never_without_one() {
    assert!((1..100).all(|after| !is_due::<Plain>(after)));
    assert!(is_due::<Often>(10) && !is_due::<Often>(11));
    assert!(is_due::<Doubled>(64) && !is_due::<Doubled>(65));
}

/// Returns the fingerprint of an account with this definition.
macro_rules! fingerprint {
    ($($definition:tt)*) => {{
        mod definition {
            #![allow(dead_code)]
            use super::*;

            $($definition)*
        }
        <definition::Account as Aggregate>::FINGERPRINT
    }};
}

#[test]
fn the_fingerprint_depends_on_fields_types_serde_attributes_version_and_fold() {
    let fingerprints = [
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { saldo: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { saldo: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i32 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { #[serde(rename = "saldo")] balance: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            #[aggregate(snapshot_version = 2)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                fn opened() -> Self { Self { balance: 1 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                #[event(version = 2, upcast(from = 1, with = one))]
                fn opened() -> Self { Self { balance: 0 } }
            }
            fn one(old: u8) -> u8 { old }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                #[event(version = 2, upcast(from = 1, with = other))]
                fn opened() -> Self { Self { balance: 0 } }
            }
            fn other(old: u8) -> u8 { old }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                #[event(version = 3, upcast(from = 1, with = one), upcast(from = 2, with = one))]
                fn opened() -> Self { Self { balance: 0 } }
            }
            fn one(old: u8) -> u8 { old }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event(retired("Frozen"))]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event(split(name = "Frozen", with = none))]
            impl Account {
                fn opened() -> Self { Self { balance: 0 } }
            }
            fn none(_: u8) -> Option<AccountEvent> { None }
        },
        fingerprint! {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct Account { balance: i64 }
            #[event]
            impl Account {
                #[event(former_names("Created"))]
                fn opened() -> Self { Self { balance: 0 } }
            }
        },
    ];
    let distinct: std::collections::HashSet<_> = fingerprints.iter().collect();
    assert_eq!(distinct.len(), fingerprints.len());
}

#[test]
fn the_fingerprint_does_not_depend_on_documentation_visibility_layout_and_other_options() {
    let terse = fingerprint! {
        #[derive(Aggregate, Serialize, Deserialize)]
        pub(super) struct Account { balance: i64, limit: i64 }
        #[event]
        impl Account {
            fn opened() -> Self { Self { balance: 0, limit: 0 } }
        }
    };
    let wordy = fingerprint! {
        /// An account.
        #[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
        #[aggregate(snapshot = every(3), snapshot_version = 1)]
        pub(crate) struct Account {
            /// The money in the account.
            pub balance: i64,
            /// The lowest balance.
            limit: i64,
        }

        /// The events.
        #[event]
        impl Account {
            /// It was opened.
            #[event(name = "AccountOpened")]
            #[inline]
            pub(crate) fn opened() -> Self {
                // The first event.
                Self {
                    balance: 0,
                    limit: 0,
                }
            }
        }
    };
    assert_eq!(terse, wordy);
}
