//! The schema lock: every change that would break stored events is found, every other one passes.
//!
//! The messages about each change are in `forbidden.txt` and `allowed.txt`, to be reviewed; `BLESS=1` writes them again.

#![allow(
    unreachable_pub,
    reason = "the types of each release are as public as its events"
)]

mod allowed;
mod documents;
mod file;
mod forbidden;
mod over_releases;
mod samples;
mod written;

use std::fmt::Write as _;
use std::path::Path;

use eventsourcing_schema::{SchemaLock, SystemSchema};

/// One change to the events of an account: the schemas before and after it.
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) before: SystemSchema,
    pub(crate) after: SystemSchema,
}

impl Change {
    pub(crate) fn lock_before(&self) -> SchemaLock {
        self.before
            .update(&SchemaLock::default())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// A module for each change, with the account before and after it, and `all()`. A release is written as the options of its
/// block, the types it needs, and the methods of the block besides `opened`.
#[macro_export]
macro_rules! changes {
    ($($name:ident: [$($before_option:tt)*] {$($before_item:item)*} {$($before:tt)*} => [$($after_option:tt)*] {$($after_item:item)*} {$($after:tt)*})*) => {
        $(
            #[allow(dead_code)]
            mod $name {
                pub(super) mod before { $crate::release!([$($before_option)*] {$($before_item)*} {$($before)*}); }
                pub(super) mod after { $crate::release!([$($after_option)*] {$($after_item)*} {$($after)*}); }
            }
        )*

        fn all() -> Vec<$crate::Change> {
            vec![$($crate::Change {
                name: stringify!($name),
                before: $name::before::schema(),
                after: $name::after::schema(),
            }),*]
        }
    };
}

#[macro_export]
macro_rules! release {
    ([$($option:tt)*] {$($item:item)*} {$($method:tt)*}) => {
        #[allow(unused_imports)]
        use {
            eventsourcing_schema::SystemSchema,
            eventsourcing_core::{Aggregate, event},
            schemars::JsonSchema,
            serde::{Deserialize, Serialize},
            serde_json::Value,
            std::collections::{BTreeMap, BTreeSet},
        };

        $($item)*

        #[derive(Aggregate, Serialize, Deserialize)]
        pub(crate) struct Account {}

        #[event(schema, $($option)*)]
        impl Account {
            fn opened(owner: String) -> Self {
                Self {}
            }
            $($method)*
        }

        #[allow(dead_code)]
        pub(crate) fn schema() -> SystemSchema {
            SystemSchema::new("Bank").with::<Account>()
        }
    };
}

/// Compares the messages about each change with the file of that name.
pub(crate) fn compare_with(file: &str, said: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/schema_lock")
        .join(file);
    let mut text = String::new();
    for (name, said) in said {
        writeln!(text, "=== {name}\n\n{said}\n").expect("a text grows");
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the file can be read; BLESS=1 writes it");
    let differs = said
        .iter()
        .find(|(_, said)| !expected.contains(said.as_str()));
    assert!(
        text == expected,
        "{file} says something else, first of {differs:#?}; after BLESS=1 it can be reviewed"
    );
}
