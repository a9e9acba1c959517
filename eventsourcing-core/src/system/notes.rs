//! Every name under which followers, and the framework itself, store something beside events.
//!
//! This file is a storage format, as the SQL of the stores is: what is written under a key or a hidden name today is read by
//! every later release. Each note belongs to a follower and a log; its key says what it is about. A hidden name is the name of
//! a follower that no application, projection or aggregate can have, because [`reserved`] refuses it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{CommandId, HolderId, LogSlice, Name, Position, StoreError, StreamId, Version};

// The keys of a follower's notes. Those that end in a slash begin the keys of many.

/// One note for each slice of the log: the checksums of the events that the follower has processed in it.
pub(crate) const CHECKSUMS: &str = "figures/";
/// The events that the follower takes.
pub(crate) const EVENTS: &str = "events";
/// The process that runs the follower.
pub(crate) const HOLDER: &str = "holder";
/// One note for each stream that is parked.
pub(crate) const PARKED: &str = "parked/";
/// One note for each event that waits in a parked stream: the one that failed, and those behind it.
pub(crate) const HELD: &str = "held/";
/// One note for each event that was given up.
pub(crate) const DROPPED: &str = "dropped/";
/// One note for each time that people did something about a parked stream.
pub(crate) const PARKING_RECORDS: &str = "parking/";
/// One note for each timer that is pending or parked.
pub(crate) const TIMERS: &str = "timer/";
/// One empty note for each pending timer, in the order in which they are due.
pub(crate) const DUE: &str = "due/";
/// The number of pending timers.
pub(crate) const TIMER_COUNT: &str = "timers";
/// One empty note for each timer that is parked.
pub(crate) const PARKED_TIMERS: &str = "parked-timer/";
/// One note for each time that people did something about a parked timer.
pub(crate) const TIMER_RECORDS: &str = "timer-parking/";

// The keys under hidden names, and of read models.

/// The generations of a read model, under its own name.
pub(crate) const GENERATIONS: &str = "generations";
/// The rejection of a command, under the hidden name of the command.
pub(crate) const REJECTION: &str = "refusal";
/// The checksum of an archive whose import is not finished, under [`IMPORT`].
pub(crate) const UNFINISHED: &str = "unfinished";
/// The checksum of an archive that was imported, under [`IMPORT`].
#[cfg(feature = "archive")]
pub(crate) const FINISHED: &str = "finished";

/// The position of a generation of a read model that another one has taken the place of. It takes no event any more.
pub(crate) const RETIRED: Position = Position::MAX;

// Hidden names of followers.

/// The follower whose position is the line of an archive that an import has reached.
pub(crate) const IMPORT: Name = Name::from_static("eventsourcing.import");
/// The follower whose notes are the declarations of the systems on a store, under [`declaration`].
pub(crate) const SYSTEMS: Name = Name::from_static("eventsourcing.systems");

const FRAMEWORK: &str = "eventsourcing";
const REJECTIONS: &str = "refusal:";
/// The characters that hidden names and keys are made with.
const SEPARATORS: [char; 4] = [':', '@', '.', '/'];

/// Returns why an application, a follower or an aggregate cannot have this name, or `None` if it can.
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

/// The name under which a process holds place `number`, from 1, among those that share the partitions of `follower`. It has leases
/// and no notes.
pub(crate) fn seat(follower: &Name, number: u32, of: u32) -> Name {
    format!("{follower}:seat {number}/{of}").into()
}

/// The name under which a generation of a read model keeps its position and its notes.
pub(crate) fn generation(read_model: &Name, number: u64) -> Name {
    format!("{read_model}@{number}").into()
}

/// The name under which the rejection of a command is kept.
pub(crate) fn rejection(command_id: CommandId) -> Name {
    format!("{REJECTIONS}{command_id}").into()
}

/// Returns a name behind those of all rejections if `name` is that of a rejection. Followers are listed in the order of their
/// names, so all rejections can be skipped at once.
pub(crate) fn behind_rejections(name: &Name) -> Option<Name> {
    name.as_str()
        .starts_with(REJECTIONS)
        .then(|| format!("{REJECTIONS}~").into())
}

/// Returns the follower that `part` is a partition of, or `part` itself.
pub(crate) fn whole(part: &Name) -> Name {
    match part
        .as_str()
        .rsplit_once(':')
        .and_then(|(whole, part)| Some((whole, part.split_once('/')?)))
    {
        Some((whole, (number, of))) if is_number(number) && is_number(of) => whole.into(),
        _ => part.clone(),
    }
}

/// Returns the policy or foreign projection that has made a step under the name `part`, or `None` if that is a generation of a
/// read model or belongs to the framework.
pub(crate) fn declared(part: &Name) -> Option<Name> {
    let whole = whole(part);
    reserved(whole.as_str()).is_none().then_some(whole)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a process notes under [`HOLDER`] when it takes a follower over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HolderInfo {
    pub(crate) holder: HolderId,
    /// Where to find the process: its number and its host.
    pub(crate) process: String,
}

// Keys with parameters.

pub(crate) fn checksums(slice: LogSlice) -> String {
    format!("{CHECKSUMS}{:015}", slice.as_u64())
}

pub(crate) fn parked(stream: &StreamId) -> String {
    format!("{PARKED}{}/{}", stream.id, stream.category)
}

/// The beginning of the keys of the events of a stream that wait. The keys of another stream begin alike if the name of its
/// category does.
pub(crate) fn held_in(stream: &StreamId) -> String {
    format!("{HELD}{}/{}/", stream.id, stream.category)
}

pub(crate) fn held(stream: &StreamId, version: Version) -> String {
    format!("{}{:020}", held_in(stream), version.as_u64())
}

pub(crate) fn dropped(position: Position) -> String {
    format!("{DROPPED}{:020}", position.as_u64())
}

/// Two records of one microsecond are of different events.
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

/// Times before 1970 count as its beginning.
pub(crate) fn due(at: Timestamp, key: &str) -> String {
    format!("{DUE}{:020}/{key}", at.as_microsecond().max(0))
}

/// Reads what [`due`] has written: when a timer is due, and its key.
pub(crate) fn read_due(note: &str) -> Result<(Timestamp, String), StoreError> {
    let read = |note: &str| {
        let (due, key) = note.strip_prefix(DUE)?.split_once('/')?;
        let microseconds: i64 = due.parse().ok()?;
        let second = 1_000_000;
        // `from_microsecond` does not take the microseconds of the last second that a timestamp can have, as of `Timestamp::MAX`.
        let nanoseconds = i32::try_from(microseconds % second).ok()? * 1_000;
        Some((
            Timestamp::new(microseconds / second, nanoseconds).ok()?,
            key.to_owned(),
        ))
    };
    read(note).ok_or_else(|| StoreError::Corrupt {
        reason: format!("the note {note:?} names no timer"),
        source: None,
    })
}

pub(crate) fn parked_timer(key: &str) -> String {
    format!("{PARKED_TIMERS}{key}")
}

/// Records of one microsecond are of different revisions of the follower.
pub(crate) fn timer_record(at: Timestamp, revision: u64) -> String {
    format!(
        "{TIMER_RECORDS}{:020}/{revision:020}",
        at.as_microsecond().max(0)
    )
}

/// The key under [`SYSTEMS`] of the declaration of a follower by a system.
pub(crate) fn declaration(system: &str, follower: &Name) -> String {
    format!("{system}/{follower}")
}

/// Reads what [`declaration`] has written: the system, and the follower.
pub(crate) fn read_declaration(key: &str) -> Option<(&str, Name)> {
    key.rsplit_once('/')
        .map(|(system, follower)| (system, Name::from(follower)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_reserved_and_lead_back_to_the_follower() {
        let ledger = Name::from_static("ledger");
        let command = CommandId::new();
        for (hidden, known) in [
            (partition(&ledger, 1, 4), Some("ledger")),
            (seat(&ledger, 2, 4), None),
            (generation(&ledger, 2), None),
            (rejection(command), None),
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

    /// What earlier releases have stored.
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
                seat(&ledger, 1, 4).to_string(),
                "ledger:seat 1/4".to_owned(),
            ),
            (generation(&ledger, 2).to_string(), "ledger@2".to_owned()),
            (
                rejection(CommandId::from_uuid(uuid::Uuid::nil())).to_string(),
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
