//! A serializer in front of that of the codec, which refuses values that would not be read back.
//!
//! JSON, MessagePack and `serde_json::Value` can express less than serde's data model: a number
//! that is not finite becomes null, `Some(None)` becomes `None`, a key that is a list has no form
//! at all. The rules here are the same for every codec, so that an application may change its
//! codec, and an upcaster may take a `Value`, without losing events that were accepted.
//!
//! The check is one pass, together with the encoding. A refusal names the field, whose path is
//! assembled while the error returns, so accepted values pay nothing for it. Serde skips fields
//! before they get here.

mod key;
mod problem;
mod serializer;

use serde::Serialize;
use serde::ser::Serializer;

pub(super) use problem::{NumbersAsText, Problem, Refused};

use problem::Inspection;
use serializer::{Checked, Place};

/// The number of levels of lists, maps and structs that a stored value may have: an event, a
/// snapshot, the payload of a timer, a kept rejection. A deeper value is refused when it is
/// written.
///
/// Every codec reads 127 levels. The difference is reserved for the wrappers in which payloads are
/// read or shown.
pub const VALUE_DEPTH_MAX: usize = 100;

/// A value that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<T> {
    pub(super) ok: T,
    /// `true` if only the value's own type can tell whether it can be read back: types that serde
    /// reads through a buffer (`flatten`, `untagged`, internally tagged) read less than others do,
    /// and cannot be recognized here.
    pub(super) is_doubtful: bool,
}

/// Writes `value` by `serializer`, if each part of it can be read back from every codec.
pub(super) fn serialize<T, S>(
    value: &T,
    serializer: S,
    numbers: NumbersAsText,
) -> Result<Written<S::Ok>, Refused>
where
    T: Serialize + ?Sized,
    S: Serializer,
{
    let inspection = Inspection::new(numbers);
    match value.serialize(Checked::new(serializer, &inspection, Place::ROOT)) {
        Ok(ok) => Ok(Written {
            ok,
            is_doubtful: inspection.is_doubtful(),
        }),
        Err(error) => Err(inspection.into_refused(&error)),
    }
}

/// A part of a value, which carries the inspection into the `Serialize` of its type.
struct Part<'a, T: ?Sized> {
    value: &'a T,
    inspection: &'a Inspection,
    place: Place,
}

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value
            .serialize(Checked::new(serializer, self.inspection, self.place))
    }
}

impl Inspection {
    /// Returns an error for the serializer. The problem itself is kept here, because the codec
    /// defines the type `Error`.
    #[cold]
    fn refuse<T, E: serde::ser::Error>(&self, problem: Problem) -> Result<T, E> {
        let error = E::custom(&problem);
        self.note(problem);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::{Serialize, Serializer};

    use super::super::json;
    use super::*;

    fn refusal(value: &impl Serialize) -> String {
        match json::encode(value) {
            Ok(written) => panic!("accepted as {}", String::from_utf8_lossy(&written.ok)),
            Err(refused) => refused.to_string(),
        }
    }

    fn accepted(value: &impl Serialize) -> String {
        let bytes = json::encode(value)
            .unwrap_or_else(|refused| panic!("{refused}"))
            .ok;
        assert_eq!(
            bytes,
            serde_json::to_vec(value).expect("it is JSON"),
            "the same bytes as without the check"
        );
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[derive(Serialize)]
    struct Reading {
        values: Vec<BTreeMap<&'static str, f64>>,
    }

    #[test]
    fn refusal_names_the_field_by_its_path() {
        let reading = Reading {
            values: vec![
                BTreeMap::new(),
                BTreeMap::from([("a", 1.0), ("b", f64::NAN)]),
            ],
        };
        let refusal = refusal(&reading);
        assert!(
            refusal.starts_with("field `values[1].b`: NaN is not a finite number"),
            "{refusal}"
        );
    }

    #[test]
    fn what_becomes_null_within_an_option_is_refused() {
        #[derive(Serialize)]
        struct Marker;
        #[derive(Serialize)]
        struct Wrapper(Option<u8>);
        for refusal in [
            refusal(&Some(None::<u8>)),
            refusal(&Some(Some(()))),
            refusal(&Some(Marker)),
            refusal(&Some(Wrapper(None))),
            refusal(&Some(serde_json::Value::Null)),
        ] {
            assert!(refusal.contains("comes back as `None`"), "{refusal}");
        }
        assert_eq!(accepted(&Some(Some(5))), "5");
        assert_eq!(accepted(&None::<Option<u8>>), "null");
        assert_eq!(accepted(&Some([None::<u8>])), "[null]");
        assert_eq!(accepted(&(Marker, ())), "[null,null]");
    }

    #[test]
    fn numbers_that_do_not_fit_into_64_bits_are_refused() {
        assert_eq!(
            accepted(&(u128::from(u64::MAX), i128::from(i64::MIN))),
            "[18446744073709551615,-9223372036854775808]"
        );
        for refusal in [
            refusal(&(u128::from(u64::MAX) + 1)),
            refusal(&(i128::from(i64::MIN) - 1)),
        ] {
            assert!(refusal.contains("does not fit into 64 bits"), "{refusal}");
        }
    }

    #[test]
    fn keys_are_text_or_what_is_read_back_from_text() {
        assert_eq!(accepted(&BTreeMap::from([(-5, "a")])), r#"{"-5":"a"}"#);
        assert_eq!(accepted(&BTreeMap::from([(true, "a")])), r#"{"true":"a"}"#);
        assert_eq!(accepted(&BTreeMap::from([('x', "a")])), r#"{"x":"a"}"#);
        for refusal in [
            refusal(&BTreeMap::from([((1, 2), true)])),
            refusal(&BTreeMap::from([(None::<u8>, true)])),
            refusal(&BTreeMap::from([((), true)])),
        ] {
            assert!(refusal.contains("a key of a map"), "{refusal}");
        }
    }

    #[test]
    fn keys_that_are_written_twice_are_refused() {
        #[derive(Serialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            Inner(Inner),
            Map(BTreeMap<&'static str, u8>),
        }
        #[derive(Serialize)]
        struct Inner {
            size: u8,
            kind: u8,
        }
        #[derive(Serialize)]
        struct Outer {
            a: u8,
            #[serde(flatten)]
            more: HashMap<&'static str, u8>,
        }
        let more = |key| HashMap::from([(key, 1), ("x", 2)]);
        for (refusal, key) in [
            (refusal(&Tagged::Inner(Inner { size: 1, kind: 2 })), "kind"),
            (
                refusal(&Tagged::Map(BTreeMap::from([("a", 1), ("kind", 2)]))),
                "kind",
            ),
            (
                refusal(&Outer {
                    a: 1,
                    more: more("a"),
                }),
                "a",
            ),
        ] {
            assert!(
                refusal.contains(&format!("`{key}` is written twice")),
                "{refusal}"
            );
        }
        accepted(&Tagged::Map(BTreeMap::from([("a", 1), ("l", 2)])));
        accepted(&Outer {
            a: 1,
            more: more("b"),
        });
    }

    /// A value of any depth.
    #[derive(Serialize)]
    enum Nest {
        Leaf,
        List(Vec<Self>),
    }

    #[test]
    fn depth_is_limited_before_it_uses_up_the_stack() {
        let nested = |levels| (0..levels).fold(Nest::Leaf, |nest, _| Nest::List(vec![nest]));
        // Each level is two levels of nesting: the map of the variant, and a list.
        accepted(&nested(VALUE_DEPTH_MAX / 2));
        let refusal = refusal(&nested(VALUE_DEPTH_MAX / 2 + 1));
        assert!(
            refusal.contains("nested deeper than 100 levels"),
            "{refusal}"
        );
    }

    /// Wrappers that leave no trace in the stored value.
    struct Onion(u32);

    impl Serialize for Onion {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0.checked_sub(1) {
                Some(rest) => serializer.serialize_newtype_struct("Onion", &Self(rest)),
                None => serializer.serialize_u8(0),
            }
        }
    }

    #[test]
    fn wrappers_that_leave_no_trace_do_not_use_up_the_stack_either() {
        assert_eq!(accepted(&Onion(50)), "0");
        assert!(refusal(&Onion(1_000_000)).contains("nested deeper"));
    }

    #[test]
    fn whatever_else_a_type_refuses_is_said_with_the_field() {
        struct Moody;
        impl Serialize for Moody {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        assert_eq!(
            refusal(&BTreeMap::from([("mood", [Moody])])),
            "field `mood[0]`: not today"
        );
        assert_eq!(refusal(&Moody), "not today");
    }
}
