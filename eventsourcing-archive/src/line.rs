//! The lines of an archive. An event becomes a line and an event again without losing a byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use eventsourcing_core::store::{
    CodecId, CommandId, EventHash, LogId, Name, NewEvent, Position, ReceiptKind, StoredEvent,
    StreamId, Version,
};
use eventsourcing_core::{Codec, EventRef};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::task::coop::consume_budget;
use uuid::Uuid;

use crate::ArchiveError;

/// The mark of an archive in its first line.
const ARCHIVE: &str = "eventsourcing";
/// The format of the files that this program writes. It reads earlier formats too: the first one
/// had no answers.
const FORMAT: u32 = 2;
/// The longest line: the largest note, each character of which may be escaped in six bytes, and
/// some reserve.
const LINE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    archive: String,
    format: u32,
    /// The id of the exported log.
    pub(crate) log: LogId,
    /// The last position that may be in the file.
    pub(crate) head: Position,
    pub(crate) events: u64,
    /// The followers, each of which has a line of its own.
    pub(crate) followers: Vec<Name>,
}

/// The last line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) end: bool,
    pub(crate) events: u64,
    pub(crate) sha256: String,
}

/// The place of a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FollowerLine {
    pub(crate) follower: Name,
    /// The stored names of the aggregates whose events it takes.
    pub(crate) takes: Vec<Name>,
    /// The number of its partition and of all partitions, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<(u32, u32)>,
    /// The last event up to its position, also one that it does not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<EventRef>,
    /// The difference between the events it has processed and those it should have processed, if
    /// any. The import keeps the difference, so that `verify` still reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) differs_by: Option<(i64, EventHash)>,
}

/// A note of a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoteLine {
    pub(crate) of: Name,
    pub(crate) key: String,
    pub(crate) note: String,
}

/// The answer to a command that recorded no event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerLine {
    /// The command.
    pub(crate) answer: CommandId,
    pub(crate) kind: ReceiptKind,
    /// The position at which the command was decided.
    pub(crate) position: Position,
    /// The note with the rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    position: Position,
    category: Name,
    id: Uuid,
    version: Version,
    name: Name,
    schema_version: u16,
    recorded_at: Timestamp,
    codec: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
    /// The command whose last event this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<CommandId>,
}

/// Any line but the first.
pub(crate) enum Line {
    /// An event, and the command whose last event it is.
    Event(Box<StoredEvent>, Option<CommandId>),
    Answer(AnswerLine),
    Follower(FollowerLine),
    Note(NoteLine),
    End(End),
}

impl Header {
    pub(crate) fn new(log: LogId, head: Position, events: u64, followers: Vec<Name>) -> Self {
        Self {
            archive: ARCHIVE.into(),
            format: FORMAT,
            log,
            head,
            events,
            followers,
        }
    }

    /// Reads the first line of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Any {
            archive: String,
            format: u32,
        }
        let any: Any =
            serde_json::from_str(text).map_err(|_| "not an archive of events".to_owned())?;
        match any {
            Any { archive, .. } if archive != ARCHIVE => Err("not an archive of events".into()),
            Any { format, .. } if !(1..=FORMAT).contains(&format) => Err(format!(
                "the archive has format {format}, this program reads formats up to {FORMAT}; use a newer release"
            )),
            Any { .. } => serde_json::from_str(text).map_err(|error| one_line(&error)),
        }
    }
}

impl Line {
    /// Reads any line but the first.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parsed = match text.split(':').next().unwrap_or_default() {
            "{\"position\"" => {
                return serde_json::from_str::<EventLine>(text)
                    .map_err(|error| one_line(&error))?
                    .event();
            }
            "{\"answer\"" => serde_json::from_str(text).map(Self::Answer),
            "{\"follower\"" => serde_json::from_str(text).map(Self::Follower),
            "{\"of\"" => serde_json::from_str(text).map(Self::Note),
            "{\"end\"" => serde_json::from_str(text).map(Self::End),
            _ => {
                return Err(
                    "the line is neither an event, an answer, a follower, a note nor the end"
                        .into(),
                );
            }
        };
        parsed.map_err(|error| one_line(&error))
    }
}

fn one_line(error: &serde_json::Error) -> String {
    format!("the line cannot be read: {error}")
}

/// Returns the line of an event, without the line break.
pub(crate) fn event_line(event: &StoredEvent, command: Option<CommandId>) -> String {
    let StoredEvent {
        position,
        stream,
        version,
        recorded_at,
        name,
        schema_version,
        codec,
        payload,
        metadata,
    } = event;
    let (payload, payload_base64) = embedded(payload, *codec == Codec::Json.id());
    let (metadata, metadata_base64) = embedded(metadata, true);
    let line = EventLine {
        position: *position,
        category: stream.category.clone(),
        id: stream.id,
        version: *version,
        name: name.clone(),
        schema_version: *schema_version,
        recorded_at: *recorded_at,
        codec: codec.0,
        payload,
        payload_base64,
        metadata,
        metadata_base64,
        command,
    };
    serde_json::to_string(&line).expect("names, numbers and texts are JSON")
}

/// Returns JSON unchanged, if it survives as a part of a line byte for byte; other bytes as base64.
/// Empty bytes are neither.
fn embedded(bytes: &[u8], is_json: bool) -> (Option<Box<RawValue>>, Option<String>) {
    if bytes.is_empty() {
        return (None, None);
    }
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| is_json && !text.contains(['\n', '\r']));
    let value = text.and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok());
    match value.filter(|value| value.get().as_bytes() == bytes && value.get() != "null") {
        Some(value) => (Some(value), None),
        None => (None, Some(BASE64.encode(bytes))),
    }
}

fn extracted(value: Option<Box<RawValue>>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (value, base64) {
        (Some(value), None) => Ok(value.get().as_bytes().to_vec()),
        (None, Some(base64)) => BASE64
            .decode(base64)
            .map_err(|error| format!("invalid base64: {error}")),
        (None, None) => Ok(Vec::new()),
        (Some(_), Some(_)) => {
            Err("an event has its payload or its metadata twice, as JSON and as base64".into())
        }
    }
}

impl EventLine {
    fn event(self) -> Result<Line, String> {
        let event = StoredEvent {
            position: self.position,
            stream: StreamId {
                category: self.category,
                id: self.id,
            },
            version: self.version,
            recorded_at: self.recorded_at,
            name: self.name,
            schema_version: self.schema_version,
            codec: CodecId(self.codec),
            payload: extracted(self.payload, self.payload_base64)?,
            metadata: extracted(self.metadata, self.metadata_base64)?,
        };
        Ok(Line::Event(Box::new(event), self.command))
    }
}

/// Returns the event to append to another store.
pub(crate) fn new_event(event: StoredEvent) -> NewEvent {
    let StoredEvent {
        name,
        schema_version,
        codec,
        payload,
        metadata,
        ..
    } = event;
    NewEvent {
        name,
        schema_version,
        codec,
        payload,
        metadata,
    }
}

/// Reads the lines of a file one by one, and counts them.
pub(crate) struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    /// The number of the line that was read last, from 1.
    pub(crate) number: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) fn new(file: R) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// Returns the next line, with its line break; `None` at the end of the file.
    pub(crate) async fn next_line(&mut self) -> Result<Option<&str>, ArchiveError> {
        // A file in memory is always ready and would keep the thread from all other tasks.
        consume_budget().await;
        self.buffer.clear();
        let read = (&mut self.file)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut self.buffer)
            .await;
        if read.map_err(ArchiveError::File)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let fail = |reason: &str| Err(ArchiveError::line(self.number, reason));
        match std::str::from_utf8(&self.buffer) {
            Ok(text) if text.ends_with('\n') => Ok(Some(text)),
            Ok(_) if self.buffer.len() as u64 == LINE_BYTES_MAX => fail("the line is too long"),
            Ok(_) => fail("the file is cut off within this line"),
            Err(_) => fail("the line is not UTF-8 text"),
        }
    }

    /// Reads the next line, which must be there, by `parse`.
    pub(crate) async fn parsed<T>(
        &mut self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ArchiveError> {
        let Some(text) = self.next_line().await? else {
            return Err(ArchiveError::line(
                self.number + 1,
                "the file is cut off: its end is missing",
            ));
        };
        parse(text.trim_end()).map_err(|reason| ArchiveError::line(self.number, reason))
    }
}
