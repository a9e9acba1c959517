//! The keys and hidden names under which followers, and the framework itself, store data beside
//! events.
//!
//! This file is a storage format, like the SQL of the stores: every later release reads what is
//! written under a key or a hidden name today. Each note belongs to a follower and a log. A hidden
//! name is the name of a follower that no application, projection or aggregate can have, because
//! [`reserved`] refuses it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{HolderId, LogSlice, Name, Position, StoreError, StreamId, Version};

// The keys of a follower's notes. A key that ends in a slash is the prefix of many keys.

/// Prefix: for each slice of the log, the checksum of the events that the follower has processed in
/// it.
pub(crate) const CHECKSUMS: &str = "figures/";
/// The events that the follower takes.
pub(crate) const EVENTS: &str = "events";
/// The process that runs the follower.
pub(crate) const HOLDER: &str = "holder";
/// Prefix: one note for each parked stream.
pub(crate) const PARKED: &str = "parked/";
/// Prefix: one note for each event that waits in a parked stream, the failed one included.
pub(crate) const HELD: &str = "held/";
/// Prefix: one note for each discarded event.
pub(crate) const DROPPED: &str = "dropped/";
/// Prefix: one note for each attempt to retry or discard a parked event.
pub(crate) const PARKING_RECORDS: &str = "parking/";
/// Prefix: one note for each timer, pending or parked.
pub(crate) const TIMERS: &str = "timer/";
/// Prefix: one empty note for each pending timer, in the order in which they are due.
pub(crate) const DUE: &str = "due/";
/// The number of pending timers.
pub(crate) const TIMER_COUNT: &str = "timers";
/// Prefix: one empty note for each parked timer.
pub(crate) const PARKED_TIMERS: &str = "parked-timer/";
/// Prefix: one note for each attempt to retry or discard a parked timer.
pub(crate) const TIMER_RECORDS: &str = "timer-parking/";

// The keys under hidden names, and of read models.

/// The generations of a read model, under its own name.
pub(crate) const GENERATIONS: &str = "generations";
/// The checksum of an archive whose import is not finished, under [`IMPORT`].
pub const UNFINISHED: &str = "unfinished";
/// The checksum of an archive that was imported, under [`IMPORT`].
pub const FINISHED: &str = "finished";

/// The position of a generation of a read model that was replaced by another one. It is the highest
/// position there is, so that no event lies beyond it and the generation takes none any more.
pub(crate) const RETIRED: Position = Position::MAX;

// Hidden names of followers. Those of kept rejections stand beside the traits of the stores, in
// `store/rejection.rs`, because stores write them.

/// The follower whose position is the line of an archive that an import has reached.
pub const IMPORT: Name = Name::from_static("eventsourcing.import");
/// The follower whose notes are the declarations of the systems on a store, under [`declaration`].
pub(crate) const SYSTEMS: Name = Name::from_static("eventsourcing.systems");

const FRAMEWORK: &str = "eventsourcing";
/// The characters that separate the parts of hidden names and keys.
const SEPARATORS: [char; 4] = [':', '@', '.', '/'];

/// Returns why an application, a follower or an aggregate cannot have this name, or `None` if it
/// can.
///
/// The macros refuse the same names while compiling (`eventsourcing-derive/src/stored_name.rs`).
pub(crate) fn reserved(name: &str) -> Option<String> {
    if let Some(separator) = name
        .chars()
        .find(|character| SEPARATORS.contains(character))
    {
        return Some(format!("contains `{separator}`"));
    }
    name.starts_with(FRAMEWORK)
        .then(|| format!("begins with `{FRAMEWORK}`"))
}

/// The name under which partition `number`, from 1, of `follower` keeps its position and its notes.
pub(crate) fn partition(follower: &Name, number: u32, of: u32) -> Name {
    format!("{follower}:{number}/{of}").into()
}

/// The name under which a process holds place `number`, from 1, among the processes that share the
/// partitions of `follower`. Leases are taken under this name, and no notes.
pub(crate) fn member(follower: &Name, number: u32, of: u32) -> Name {
    format!("{follower}:seat {number}/{of}").into()
}

/// The name under which a generation of a read model keeps its position and its notes.
pub(crate) fn generation(read_model: &Name, number: u64) -> Name {
    format!("{read_model}@{number}").into()
}

/// Returns the follower of which `part` is a partition, or `part` itself.
#[must_use]
pub fn whole(part: &Name) -> Name {
    match part
        .as_str()
        .rsplit_once(':')
        .and_then(|(whole, part)| Some((whole, part.split_once('/')?)))
    {
        Some((whole, (number, of))) if is_number(number) && is_number(of) => whole.into(),
        _ => part.clone(),
    }
}

/// Returns the policy or foreign projection that has made a step under the name `part`, or `None`
/// if that is a generation of a read model or belongs to the framework.
pub(crate) fn declared(part: &Name) -> Option<Name> {
    let whole = whole(part);
    reserved(whole.as_str()).is_none().then_some(whole)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The note that a process writes under [`HOLDER`] when it takes a follower over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HolderInfo {
    pub(crate) holder: HolderId,
    /// The process number and the host, so that people can find it.
    pub(crate) process: String,
}

// Keys with parameters.

pub(crate) fn checksums(slice: LogSlice) -> String {
    format!("{CHECKSUMS}{:015}", slice.as_u64())
}

pub(crate) fn parked(stream: &StreamId) -> String {
    format!("{PARKED}{}/{}", stream.id, stream.category)
}

/// Returns the prefix of the keys of the waiting events of a stream. A category whose name contains
/// a slash can have keys with the same prefix, so readers also compare the stream.
pub(crate) fn held_in(stream: &StreamId) -> String {
    format!("{HELD}{}/{}/", stream.id, stream.category)
}

pub(crate) fn held(stream: &StreamId, version: Version) -> String {
    format!("{}{:020}", held_in(stream), version.as_u64())
}

pub(crate) fn dropped(position: Position) -> String {
    format!("{DROPPED}{:020}", position.as_u64())
}

/// Returns the key of a record. The position keeps two records of one microsecond apart: they are
/// about different events.
pub(crate) fn parking_record(at: Timestamp, position: Position) -> String {
    format!(
        "{PARKING_RECORDS}{:020}/{:020}",
        at.as_microsecond(),
        position.as_u64()
    )
}

pub(crate) fn timer(key: &str) -> String {
    format!("{TIMERS}{key}")
}

/// Returns the key that sorts a pending timer by its time. Times before 1970 count as 1970, since a
/// minus sign would sort wrongly.
pub(crate) fn due(at: Timestamp, key: &str) -> String {
    format!("{DUE}{:020}/{key}", at.as_microsecond().max(0))
}

/// Reads a key that [`due`] has written: the time at which the timer is due, and its key.
pub(crate) fn read_due(note: &str) -> Result<(Timestamp, String), StoreError> {
    let read = |note: &str| {
        let (due, key) = note.strip_prefix(DUE)?.split_once('/')?;
        let microseconds: i64 = due.parse().ok()?;
        let second = 1_000_000;
        // `from_microsecond` does not take the microseconds of the last second that a timestamp can
        // have, as of `Timestamp::MAX`.
        let nanoseconds = i32::try_from(microseconds % second).ok()? * 1_000;
        Some((
            Timestamp::new(microseconds / second, nanoseconds).ok()?,
            key.to_owned(),
        ))
    };
    read(note).ok_or_else(|| StoreError::Corrupt {
        reason: format!("the note {note:?} does not name a timer"),
        source: None,
    })
}

pub(crate) fn parked_timer(key: &str) -> String {
    format!("{PARKED_TIMERS}{key}")
}

/// Returns the key of a record. The revision of the follower keeps two records of one microsecond
/// apart.
pub(crate) fn timer_record(at: Timestamp, revision: u64) -> String {
    format!(
        "{TIMER_RECORDS}{:020}/{revision:020}",
        at.as_microsecond().max(0)
    )
}

/// Returns the key, under [`SYSTEMS`], of the declaration of a follower by a system.
pub(crate) fn declaration(system: &str, follower: &Name) -> String {
    format!("{system}/{follower}")
}

/// Reads a key that [`declaration`] has written: the system, and the follower.
pub(crate) fn read_declaration(key: &str) -> Option<(&str, Name)> {
    key.rsplit_once('/')
        .map(|(system, follower)| (system, Name::from(follower)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CommandId, rejections_follower};

    #[test]
    fn hidden_names_are_reserved_and_lead_back_to_the_follower() {
        let ledger = Name::from_static("ledger");
        let command = CommandId::new();
        for (hidden, known) in [
            (partition(&ledger, 1, 4), Some("ledger")),
            (member(&ledger, 2, 4), None),
            (generation(&ledger, 2), None),
            (rejections_follower(command), None),
            (SYSTEMS, None),
        ] {
            assert!(reserved(hidden.as_str()).is_some(), "{hidden}");
            assert_eq!(
                declared(&hidden).as_ref().map(Name::as_str),
                known,
                "{hidden}"
            );
        }
        for name in [
            "ledger",
            "Ledger 2",
            "ledger-1",
            "konto_übersicht",
            "my eventsourcing",
        ] {
            assert_eq!(reserved(name), None);
            assert_eq!(declared(&Name::from(name)), Some(name.into()));
        }
    }

    /// The keys and names that earlier releases have stored.
    #[test]
    fn keys_and_hidden_names_are_those_of_all_releases() {
        let stream = StreamId::new("Jar", uuid::Uuid::nil());
        let id = "00000000-0000-0000-0000-000000000000";
        let at = Timestamp::from_microsecond(1_700_000_000_000_001).expect("a time");
        let ledger = Name::from_static("ledger");
        for (written, expected) in [
            (
                checksums(LogSlice::new(12)),
                "figures/000000000000012".to_owned(),
            ),
            (parked(&stream), format!("parked/{id}/Jar")),
            (
                held(&stream, Version::new(3)),
                format!("held/{id}/Jar/00000000000000000003"),
            ),
            (
                dropped(Position::new(7)),
                "dropped/00000000000000000007".to_owned(),
            ),
            (
                parking_record(at, Position::new(7)),
                "parking/00001700000000000001/00000000000000000007".to_owned(),
            ),
            (timer("rent 5"), "timer/rent 5".to_owned()),
            (
                due(at, "rent/5"),
                "due/00001700000000000001/rent/5".to_owned(),
            ),
            (parked_timer("rent"), "parked-timer/rent".to_owned()),
            (
                timer_record(at, 9),
                "timer-parking/00001700000000000001/00000000000000000009".to_owned(),
            ),
            (declaration("Bank", &ledger), "Bank/ledger".to_owned()),
            (
                partition(&ledger, 1, 4).to_string(),
                "ledger:1/4".to_owned(),
            ),
            (
                member(&ledger, 1, 4).to_string(),
                "ledger:seat 1/4".to_owned(),
            ),
            (generation(&ledger, 2).to_string(), "ledger@2".to_owned()),
            (
                rejections_follower(CommandId::from_uuid(uuid::Uuid::nil())).to_string(),
                format!("refusal:{id}"),
            ),
        ] {
            assert_eq!(written, expected);
        }
        assert_eq!(
            read_due(&due(at, "rent/5")).expect("it was written"),
            (at, "rent/5".to_owned())
        );
        let last = Timestamp::MAX;
        let (read, _) = read_due(&due(last, "never")).expect("it was written");
        assert_eq!(read.as_microsecond(), last.as_microsecond());
        assert_eq!(
            read_declaration("My/Bank/ledger"),
            Some(("My/Bank", ledger))
        );
    }
}
