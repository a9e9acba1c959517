//! The depth of nesting of MessagePack, found without recursion.
//!
//! The deserializer counts the lists and maps that it enters, but not the variants of enums, so an
//! enum in an enum in an enum could overflow the stack. A stack overflow ends the process, and no
//! caller can catch it.

/// Returns `true` if no value in `bytes` is nested deeper than `depth_max` levels. Bytes that are
/// not MessagePack are left to the deserializer.
pub(super) fn is_at_most(depth_max: usize, bytes: &[u8]) -> bool {
    // Each level takes at least one byte, so a payload with fewer bytes than levels cannot be too
    // deep. Most payloads are that small and are not scanned.
    bytes.len() <= depth_max
        || Walk {
            rest: bytes,
            open: Vec::new(),
        }
        .stays_within(depth_max)
}

struct Walk<'a> {
    rest: &'a [u8],
    /// The number of remaining values in each of the lists and maps around the next one.
    open: Vec<u64>,
}

/// The content that a marker announces.
enum Item {
    /// A number of bytes.
    Bytes(usize),
    /// A number of values.
    Values(u64),
}

impl Walk<'_> {
    fn stays_within(mut self, depth_max: usize) -> bool {
        while let Some(item) = self.next() {
            if let Some(left) = self.open.last_mut() {
                *left -= 1;
            }
            match item {
                Item::Bytes(length) => self.rest = self.rest.get(length..).unwrap_or_default(),
                // A marker may claim any number of values. `open` has at most `depth_max` entries,
                // so such a claim costs no memory, and the walk ends with the bytes.
                Item::Values(values) if self.open.len() == depth_max && values > 0 => return false,
                Item::Values(values) => self.open.push(values),
            }
            while self.open.pop_if(|left| *left == 0).is_some() {}
        }
        true
    }

    /// Returns the next item; `None` at the end.
    fn next(&mut self) -> Option<Item> {
        let (marker, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match marker {
            0x80..=0x8F => Item::Values(u64::from(*marker & 0x0F) * 2),
            0x90..=0x9F => Item::Values(u64::from(*marker & 0x0F)),
            0xA0..=0xBF => Item::Bytes(usize::from(*marker & 0x1F)),
            0xC4 | 0xD9 => Item::Bytes(self.length(1, 0)?),
            0xC5 | 0xDA => Item::Bytes(self.length(2, 0)?),
            0xC6 | 0xDB => Item::Bytes(self.length(4, 0)?),
            // Extensions have one more byte, for their type.
            0xC7 => Item::Bytes(self.length(1, 1)?),
            0xC8 => Item::Bytes(self.length(2, 1)?),
            0xC9 => Item::Bytes(self.length(4, 1)?),
            0xCC | 0xD0 => Item::Bytes(1),
            0xCD | 0xD1 | 0xD4 => Item::Bytes(2),
            0xD5 => Item::Bytes(3),
            0xCA | 0xCE | 0xD2 => Item::Bytes(4),
            0xD6 => Item::Bytes(5),
            0xCB | 0xCF | 0xD3 => Item::Bytes(8),
            0xD7 => Item::Bytes(9),
            0xD8 => Item::Bytes(17),
            0xDC => Item::Values(self.take(2)?),
            0xDD => Item::Values(self.take(4)?),
            0xDE => Item::Values(self.take(2)? * 2),
            0xDF => Item::Values(self.take(4)? * 2),
            // Small numbers, nil and booleans have no content after the marker.
            _ => Item::Bytes(0),
        })
    }

    fn length(&mut self, bytes: usize, more: usize) -> Option<usize> {
        usize::try_from(self.take(bytes)?).ok()?.checked_add(more)
    }

    /// Reads a big-endian number of `bytes` bytes.
    fn take(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(
            number
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let value = (0..levels).fold(json!(1), |inner, level| match level % 2 {
            0 => json!([inner]),
            _ => json!({ "inner": inner }),
        });
        rmp_serde::to_vec(&value).expect("any value can be written")
    }

    #[test]
    fn depth_is_that_of_lists_and_maps() {
        for levels in [0, 1, 7, 127, 128] {
            assert!(
                Walk {
                    rest: &nested(levels),
                    open: Vec::new()
                }
                .stays_within(128),
                "{levels}"
            );
        }
        for levels in [129, 130, 500] {
            assert!(!is_at_most(128, &nested(levels)), "{levels}");
        }
    }

    #[test]
    fn what_stands_beside_each_other_is_not_nested() {
        let texts = ["a".repeat(20), "b".repeat(200), "c".repeat(70_000)];
        let numbers = json!([
            0,
            200,
            70_000,
            5_000_000_000_u64,
            -1,
            -200,
            -70_000,
            -5_000_000_000_i64,
            1.5,
            null,
            true
        ]);
        let value: Value =
            json!({ "texts": texts, "numbers": numbers, "many": vec![json!([[]]); 70_000] });
        let bytes = rmp_serde::to_vec(&value).expect("any value can be written");
        assert!(is_at_most(3, &bytes));
        assert!(!is_at_most(1, &bytes));
        let blobs =
            rmp_serde::to_vec(&serde_bytes_like(&[0x91; 300])).expect("bytes can be written");
        assert!(is_at_most(1, &blobs), "bytes are not looked into");
    }

    /// Serializes bytes as MessagePack's binary type.
    fn serde_bytes_like(bytes: &[u8]) -> impl serde::Serialize + '_ {
        struct Bytes<'a>(&'a [u8]);
        impl serde::Serialize for Bytes<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        Bytes(bytes)
    }

    #[test]
    fn what_ends_too_early_is_left_to_the_deserializer() {
        for bytes in [
            &[0xDD, 0xFF][..],
            &[0xDB, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x91],
            &[0xC9, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        ] {
            assert!(
                Walk {
                    rest: bytes,
                    open: Vec::new()
                }
                .stays_within(1),
                "{bytes:?}"
            );
        }
    }
}
