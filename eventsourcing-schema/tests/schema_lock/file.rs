//! The file of the schema lock, and the one-line test that uses it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use eventsourcing_schema::{LockError, SchemaLock, SystemSchema};

mod first {
    crate::release!([] {} { fn credited(&mut self, cents: i64) {} });
}

mod second {
    crate::release!([] {} { fn credited(&mut self, cents: i64, note: Option<String>) {} });
}

mod wrong {
    crate::release!([] {} { fn credited(&mut self, euros: i64) {} });
}

const TEXT: &str = r#"{
  "format": 2,
  "events": [
    {
      "aggregate": "Account",
      "event": "Credited",
      "version": 1,
      "payload": {
        "properties": {
          "cents": {
            "format": "int64",
            "type": "integer"
          }
        },
        "required": [
          "cents"
        ],
        "type": "object"
      },
      "samples": [
        {
          "cents": 1
        }
      ],
      "written": [
        "{\"cents\":1}"
      ]
    },
    {
      "aggregate": "Account",
      "event": "Opened",
      "version": 1,
      "payload": {
        "properties": {
          "owner": {
            "type": "string"
          }
        },
        "required": [
          "owner"
        ],
        "type": "object"
      },
      "samples": [
        {
          "owner": "text"
        }
      ],
      "written": [
        "{\"owner\":\"text\"}"
      ]
    }
  ]
}
"#;

#[test]
fn the_file_is_sorted_with_one_block_for_each_version() {
    let lock = first::schema()
        .update(&SchemaLock::default())
        .expect("it is recorded");
    assert_eq!(lock.to_string(), TEXT);
    assert_eq!(TEXT.parse::<SchemaLock>().expect("a lock"), lock);
}

fn said(schema: &SystemSchema, path: &std::path::Path) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| schema.assert_locked(path)));
    outcome
        .err()
        .map(|panic| *panic.downcast::<String>().expect("it panics with a text"))
}

#[test]
fn the_one_line_of_a_test_says_what_to_do() {
    let folder = std::env::temp_dir().join(format!("schema-lock-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("events.lock.json");
    let missing = said(&first::schema(), &path).expect("there is no lock");
    assert!(
        missing.contains("cannot be read; `EVENTS_LOCK=update cargo test` makes one"),
        "{missing}"
    );
    first::schema().update_file(&path).expect("it is made");
    assert_eq!(said(&first::schema(), &path), None);
    let unrecorded = said(&second::schema(), &path).expect("a field is not recorded");
    assert!(
        unrecorded.contains("Account / Credited / version 1: $.note is new"),
        "{unrecorded}"
    );
    assert!(
        unrecorded.contains("to record it: EVENTS_LOCK=update cargo test"),
        "{unrecorded}"
    );
    let broken = said(&wrong::schema(), &path).expect("a field is gone");
    assert!(broken.contains("$.cents was removed"), "{broken}");
    let refused = wrong::schema()
        .update_file(&path)
        .expect_err("it breaks stored events");
    assert!(matches!(refused, LockError::Broken(_)), "{refused}");
    assert_eq!(
        std::fs::read_to_string(&path).expect("it is there"),
        TEXT,
        "a refused update has changed the file"
    );
    assert_eq!(
        second::schema().update_file(&path).expect("it is allowed"),
        ["Account / Credited / version 1: $.note is new"]
    );
    assert_eq!(said(&second::schema(), &path), None);
    std::fs::remove_dir_all(&folder).expect("the folder is gone");
}

#[test]
fn what_is_no_lock_is_refused() {
    let parse = |text: &str| text.parse::<SchemaLock>().expect_err("no lock").to_string();
    assert!(parse("{").contains("not a schema lock"));
    assert!(
        parse(&TEXT.replace("\"format\": 2,", "\"format\": 3,"))
            .contains("format 3, this program knows 2")
    );
    assert!(
        parse(&TEXT.replace("Opened", "Credited"))
            .contains("version 1 of Credited of Account is locked twice")
    );
    assert!(parse(&TEXT.replace("samples", "example")).contains("not a schema lock"));
}
