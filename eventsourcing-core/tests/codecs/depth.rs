//! The depth of values is limited, because a stack overflow ends the process and cannot be caught.

use eventsourcing_core::VALUE_DEPTH_MAX;

use super::*;

/// Types that serde reads through a buffer use the most stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged_ {
    Leaf,
    Node { inner: Box<Self> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
    Node { inner: Box<Self> },
    List(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    more: BTreeMap<String, Self>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Usual {
    Leaf,
    List(Vec<Self>),
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum NestEvent {
    Tagged { nest: Tagged_ },
    Untagged { nest: Untagged },
    Flat { nest: Flat },
    Usual { nest: Usual },
    Json { nest: serde_json::Value },
}

/// Returns values of this depth below the event.
fn nested(levels: usize) -> [NestEvent; 5] {
    let tagged = (1..levels).fold(Tagged_::Leaf, |inner, _| Tagged_::Node {
        inner: Box::new(inner),
    });
    let untagged = (0..levels).fold(Untagged::Number(1), |inner, level| match level % 2 {
        0 => Untagged::List(vec![inner]),
        _ => Untagged::Node {
            inner: Box::new(inner),
        },
    });
    let flat = Flat {
        id: 0,
        more: BTreeMap::new(),
    };
    let flat = (1..levels).fold(flat, |flat, _| Flat {
        id: 1,
        more: BTreeMap::from([("more".to_owned(), flat)]),
    });
    let usual = (0..levels / 2).fold(Usual::Leaf, |usual, _| Usual::List(vec![usual]));
    let json = (0..levels).fold(serde_json::Value::from(1), |json, _| {
        serde_json::json!([json])
    });
    [
        NestEvent::Tagged { nest: tagged },
        NestEvent::Untagged { nest: untagged },
        NestEvent::Flat { nest: flat },
        NestEvent::Usual { nest: usual },
        NestEvent::Json { nest: json },
    ]
}

/// Runs `test` with the stack size of tokio's threads.
fn on_a_usual_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn deepest_values_that_are_accepted_are_written_and_read_on_a_usual_stack() {
    on_a_usual_stack(|| {
        for event in nested(VALUE_DEPTH_MAX - 1) {
            for codec in CODECS {
                let stored = stored(codec, &event);
                assert!(
                    decode_event::<NestEvent>(&stored).unwrap() == event,
                    "{codec:?}"
                );
                Codec::decode_value(&stored).unwrap();
            }
        }
    });
}

#[test]
fn deeper_values_are_refused_however_deep() {
    for levels in [VALUE_DEPTH_MAX + 1, 2_000] {
        // Making and dropping such a value needs stack, too.
        let test = move || {
            for event in nested(levels) {
                for codec in CODECS {
                    let refused = codec
                        .encode_event(&event)
                        .unwrap_err()
                        .source()
                        .unwrap()
                        .to_string();
                    let says = format!("nested deeper than {VALUE_DEPTH_MAX} levels");
                    assert!(
                        refused.starts_with("field `nest") && refused.contains(&says),
                        "{refused}"
                    );
                }
            }
        };
        std::thread::Builder::new()
            .stack_size(64 * 1024 * 1024)
            .spawn(test)
            .unwrap()
            .join()
            .unwrap();
    }
}

/// Returns JSON and MessagePack of this depth, as another program could write them.
fn stored_levels(levels: usize) -> Vec<StoredEvent> {
    let json = |begin: &str, middle: &str, end: &str, name| {
        let text = format!(
            "{{\"nest\":{}{middle}{}}}",
            begin.repeat(levels),
            end.repeat(levels)
        );
        stored_bytes(Codec::Json.id(), name, text.into_bytes())
    };
    let packed = |begin: &[u8], middle: &[u8], name| {
        let bytes = [&b"\x81\xa4nest"[..], &begin.repeat(levels), middle].concat();
        stored_bytes(Codec::MessagePack.id(), name, bytes)
    };
    vec![
        json(
            "{\"kind\":\"Node\",\"inner\":",
            "{\"kind\":\"Leaf\"}",
            "}",
            "Tagged",
        ),
        json("{\"inner\":", "1", "}", "Untagged"),
        json("[", "1", "]", "Untagged"),
        json("{\"id\":1,\"more\":", "{\"id\":1}", "}", "Flat"),
        json("{\"List\":[", "\"Leaf\"", "]}", "Usual"),
        json("[", "1", "]", "Json"),
        json("{\"a\":", "1", "}", "Unknown"),
        packed(
            b"\x82\xa4kind\xa4Node\xa5inner",
            b"\x81\xa4kind\xa4Leaf",
            "Tagged",
        ),
        packed(b"\x81\xa5inner", b"\x01", "Untagged"),
        packed(b"\x91", b"\x01", "Untagged"),
        packed(b"\x82\xa2id\x01\xa4more", b"\x81\xa2id\x01", "Flat"),
        packed(b"\x81\xa4List\x91", b"\xa4Leaf", "Usual"),
        packed(b"\x91", b"\x01", "Json"),
    ]
}

/// The limits of the codecs themselves are wider than the limit of writes, and apply to reads.
#[test]
fn stored_bytes_of_any_depth_are_read_or_refused_on_a_usual_stack() {
    on_a_usual_stack(|| {
        for levels in [60, 100, 120, 124, 125, 126, 127, 128, 10_000, 1_000_000] {
            for stored in stored_levels(levels) {
                let read = decode_event::<NestEvent>(&stored);
                let value = Codec::decode_value(&stored);
                assert!(
                    levels < 200 || (read.is_err() && value.is_err()),
                    "{levels} levels of {}",
                    stored.name
                );
                drop(read);
            }
        }
    });
}
