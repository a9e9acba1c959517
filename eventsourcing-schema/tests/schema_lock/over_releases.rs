//! An event over several releases: the lock keeps every version, and the proposed upcaster works.

use eventsourcing_schema::{LockedEvent, SchemaLock};

mod first {
    crate::release!([] {} { fn credited(&mut self, amount: String, note: Option<String>) {} });
}

/// The change of a careless author.
mod careless {
    crate::release!([] {} { fn credited(&mut self, cents: i64, note: Option<String>) {} });
}

/// The code that the message proposes; only the comment in it is replaced.
mod second {
    crate::release!([] {
        #[derive(serde::Deserialize)]
        struct Credited1 {
            amount: String,
            note: Option<String>,
        }

        #[derive(serde::Serialize)]
        struct Credited2 {
            cents: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            note: Option<String>,
        }

        /// 1 → 2.
        fn credited_1_to_2(old: Credited1) -> Credited2 {
            Credited2 {
                cents: old.amount.len() as i64,
                note: old.note,
            }
        }
    } {
        #[event(version = 2, upcast(from = 1, with = credited_1_to_2))]
        fn credited(&mut self, cents: i64, note: Option<String>) {}
    });
}

mod third {
    crate::release!([retired("Credited")] {} {});
}

fn blocks(lock: &SchemaLock) -> Vec<(&str, u16)> {
    lock.events()
        .map(|event| (&*event.event, event.version))
        .collect()
}

#[test]
fn nothing_that_was_released_leaves_the_lock() {
    let first = first::schema()
        .update(&SchemaLock::default())
        .expect("the first release");
    let second = second::schema().update(&first).expect("the second release");
    let third = third::schema().update(&second).expect("the third release");
    assert_eq!(blocks(&first), [("Credited", 1), ("Opened", 1)]);
    assert_eq!(
        blocks(&second),
        [("Credited", 1), ("Credited", 2), ("Opened", 1)]
    );
    assert_eq!(third, second);
    let old: Vec<_> = second
        .samples::<second::Account>()
        .filter(|sample| sample.event == "Credited" && sample.version == 1)
        .collect();
    let upcast = old[0].decode::<second::Account>().expect("it is upcast");
    assert_eq!(upcast.len(), 1);
    let retired = old
        .iter()
        .map(|sample| sample.decode::<third::Account>().expect("it is read"));
    assert!(old.len() > 1 && retired.into_iter().all(|events| events.is_empty()));
}

#[test]
fn the_upcaster_that_is_proposed_works_once_its_comment_is_replaced() {
    let lock = first::schema()
        .update(&SchemaLock::default())
        .expect("the first release");
    let comparison = careless::schema()
        .compare(&lock)
        .expect("samples are there");
    let stub = comparison.breakages[0].stub.replace(
        "/* what it is in events of version 1 */",
        "old.amount.len() as i64",
    );
    let (attribute, items) = stub
        .split_once("\n\n")
        .expect("an attribute, and what it names");
    let source = include_str!("over_releases.rs");
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    assert!(squeezed(source).contains(&squeezed(items)), "{items}");
    assert!(source.contains(attribute), "{attribute}");
}

#[test]
fn a_released_event_may_not_return_in_another_form() {
    let lock = second::schema()
        .update(&first::schema().update(&SchemaLock::default()).expect("1"))
        .expect("2");
    let back = first::schema().compare(&lock).expect("samples are there");
    assert_eq!(back.breakages.len(), 1, "{back}");
    assert!(
        back.breakages[0].changes[0].contains("is version 1 now, but version 2 was released"),
        "{back}"
    );
}

#[test]
fn a_block_that_was_never_released_can_be_taken_out() {
    let lock = first::schema()
        .update(&SchemaLock::default())
        .expect("the first release");
    let kept = lock
        .events()
        .filter(|event| event.event != "Credited")
        .cloned()
        .collect::<Vec<LockedEvent>>();
    let lock = SchemaLock::of_events(kept).expect("a lock");
    careless::schema()
        .update(&lock)
        .expect("nothing is known of Credited");
}
