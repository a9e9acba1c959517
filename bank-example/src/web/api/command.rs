//! [`Command`]: a request that changes something, and that can be sent again safely.
//!
//! A request that was carried out needs no storage of its own. The command's id is derived from the `Idempotency-Key`,
//! so the store finds the first receipt; the metadata of the events has the hash of the request, which tells a repeated
//! request from another one with the same key; and the answer is read from the events at the receipt. For a request
//! that the bank has rejected, the answer is stored together with the hash. So every process gives the same first
//! answer.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use eventsourcing::store::{
    CommandId, LogQuery, Position, StoredEvent, StreamId, StreamQuery, Version,
};
use eventsourcing::{Application, CommandError, Metadata, Receipt, ReceiptKind, SystemError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::Query;
use super::problem::{Kind, Problem};
use super::rejection::{CommandFailure, StoredRejection};
use crate::system::EventSourcedBank;
use crate::web::State;
use crate::web::security::Actor;

/// The UUID namespace of all keys. Never change it: repeated requests would not be recognised any more.
const KEYS: Uuid = Uuid::from_u128(0x3b9d_61f0_84c2_4e57_a1d8_0f6e_92b3_5c7a);
/// The UUID namespace of the hashes of all requests. Never change it, for the same reason.
const REQUESTS: Uuid = Uuid::from_u128(0xd47a_0c1e_5b36_4f98_8e02_b95d_7163_2af4);
/// The name of the request's hash in the metadata of its events. The name is stored and never changes.
const REQUEST_HASH_KEY: &str = "request";
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// The largest number of versions in `If-Match`.
const VERSIONS_MAX: usize = 10;
/// The header that says if the read models show the change.
pub(super) const READ_MODELS: HeaderName = HeaderName::from_static("read-models");
/// The time that the read models get to show the change.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The number of recent events in which the event of a receipt is searched, before the log is read.
const RECENT: usize = 32;

/// The headers and the query of a command.
#[derive(Debug)]
pub(super) struct Command {
    key: Option<String>,
    pub(super) expected: Option<Expected>,
    pub(super) actor: String,
    wait: bool,
}

/// The versions that the account may be at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    Any,
    OneOf(BTreeSet<Version>),
}

/// The option to wait for the read models.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// Answer when the ledger, the activity feed and the lists of accounts show the change, or after 5 seconds; the
    /// header `Read-Models` tells which: `caught-up` or `late`.
    #[param(inline, required = false, example = "read-models")]
    wait: Option<WaitFor>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum WaitFor {
    ReadModels,
}

impl FromRequestParts<State> for Command {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let Query(Waiting { wait }) = Query::from_request_parts(parts, state).await?;
        let key = key(&parts.headers)?;
        let expected = expected(&parts.headers)?;

        let actor = parts
            .extensions
            .get::<Actor>()
            .map_or_else(|| "api".to_owned(), |actor| actor.0.clone());
        Ok(Self {
            key,
            expected,
            actor,
            wait: wait.is_some(),
        })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    if keys.next().is_some() {
        return Err(Problem::new(
            Kind::BadRequest,
            "there is more than one Idempotency-Key",
        ));
    }
    match std::str::from_utf8(key.as_bytes()) {
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Kind::BadRequest,
            format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes of UTF-8"),
        )),
    }
}

fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let lines: Vec<_> = headers
        .get_all(IF_MATCH)
        .iter()
        .map(HeaderValue::to_str)
        .collect::<Result<_, _>>()
        .map_err(invalid_if_match)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let line = lines.join(",");
    if line.trim() == "*" {
        return Ok(Some(Expected::Any));
    }
    let tags: Vec<_> = line.split(',').map(str::trim).collect();
    if tags.len() > VERSIONS_MAX {
        return Err(invalid_if_match(()));
    }
    // A tag that no account can have matches nothing, and neither does a weak tag.
    let versions = tags
        .into_iter()
        .filter(|tag| !tag.starts_with("W/"))
        .map(|tag| {
            let inner = tag
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .ok_or_else(|| invalid_if_match(()))?;
            Ok(inner.parse().map_or(Version::ZERO, Version::new))
        });
    versions
        .collect::<Result<_, _>>()
        .map(|versions| Some(Expected::OneOf(versions)))
}

fn invalid_if_match<E>(_: E) -> Problem {
    let what = format!(
        "If-Match is the ETag of the account, such as \"3\", at most {VERSIONS_MAX} of them, or *"
    );
    Problem::new(Kind::BadRequest, what)
}

impl Expected {
    /// Returns `true` if a stream at version `actual` meets the expectation.
    pub(super) fn allows(&self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&actual),
        }
    }
}

/// Reports that the account is not at the expected version.
pub(super) fn version_mismatch(latest: Version) -> Problem {
    Problem::new(
        Kind::PreconditionFailed,
        format!("the account is at version {latest}"),
    )
    .with_latest(latest)
}

/// Returns the entity tag of an account at a version.
pub(super) fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits")
}

impl Command {
    /// Refuses `If-Match` for a request that creates something: there is no version yet that could match.
    pub(super) fn unconditional(&self) -> Result<(), Problem> {
        match self.expected {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Kind::PreconditionFailed,
                "If-Match cannot match: the resource does not exist yet",
            )),
        }
    }

    /// Returns the command that consists of `operation` and `request`.
    pub(super) fn of(&self, operation: &str, request: &impl Serialize) -> Once {
        let request = serde_json::to_string(request).expect("text and numbers are JSON");
        let request_hash = Uuid::new_v5(&REQUESTS, format!("{operation}\n{request}").as_bytes());
        let key = self
            .key
            .as_ref()
            .map(|key| Uuid::new_v5(&KEYS, key.as_bytes()));
        let id = key.map_or_else(CommandId::new, CommandId::from_uuid);
        Once {
            id,
            request_hash: key.map(|_| request_hash),
            actor: self.actor.clone(),
        }
    }

    /// Waits for the read models if the request asks for it. The command was carried out, also if they are late.
    pub(super) async fn wait(
        &self,
        state: &State,
        receipt: &Receipt,
    ) -> Option<(HeaderName, HeaderValue)> {
        if !self.wait {
            return None;
        }
        let caught_up = tokio::time::timeout(TIMEOUT, caught_up(state, receipt)).await;
        let outcome = if matches!(caught_up, Ok(Ok(()))) {
            "caught-up"
        } else {
            "late"
        };
        Some((READ_MODELS, HeaderValue::from_static(outcome)))
    }
}

async fn caught_up(state: &State, receipt: &Receipt) -> Result<(), SystemError> {
    for follower in <EventSourcedBank as eventsourcing::System>::definition().followers {
        let follower = state.bank.find_follower(follower.name)?;
        state.bank.wait_for(receipt, follower, TIMEOUT).await?;
    }
    Ok(())
}

/// A command that is carried out at most once, however often it is sent.
#[derive(Debug)]
pub(super) struct Once {
    id: CommandId,
    /// The hash of the request, which differs for other requests with the same key. `None` if there is no key.
    request_hash: Option<Uuid>,
    actor: String,
}

/// A command that was carried out, now or earlier.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) receipt: Receipt,
    /// The command's last event.
    pub(super) event: StoredEvent,
}

impl Once {
    /// Returns a handle whose next save has the id and the metadata of this command. Valid for one save.
    pub(super) fn handle(&self, application: &Application) -> Application {
        let metadata = Metadata::actor(self.actor.clone());
        let metadata = match self.request_hash {
            Some(request_hash) => metadata.with(REQUEST_HASH_KEY, request_hash.to_string()),
            None => metadata,
        };
        application.with(metadata).command(self.id)
    }

    /// Carries the command out with `run`, unless it was answered before. `stream` is the stream of its last event.
    pub(super) async fn carry_out<F>(
        &self,
        application: &Application,
        stream: StreamId,
        run: impl FnOnce(Application) -> F,
    ) -> Result<Done, Problem>
    where
        F: Future<Output = Result<Receipt, CommandFailure>>,
    {
        let receipt = match self.first_receipt(application).await? {
            Some(first) => first,
            None => match run(self.handle(application)).await {
                Ok(receipt) => receipt,
                Err(refused) => self.refuse(application, refused).await?,
            },
        };
        if receipt.kind != ReceiptKind::Recorded {
            // Every command that is carried out records an event, so a receipt without one belongs to another use of
            // the key.
            return Err(reused());
        }
        let event = find(application, receipt.position, stream).await?;
        self.check(&event)?;
        Ok(Done { receipt, event })
    }

    /// Returns the first answer, if there was one. Without a key there is nothing to look for.
    async fn first_receipt(&self, application: &Application) -> Result<Option<Receipt>, Problem> {
        let Some(request_hash) = self.request_hash else {
            return Ok(None);
        };
        match self
            .handle(application)
            .first_answer::<StoredRejection>()
            .await?
        {
            Some(Err(kept)) => Err(kept.answer_to(request_hash)),
            Some(Ok(receipt)) => Ok(Some(receipt)),
            None => Ok(None),
        }
    }

    /// Stores the rejection as the first answer, unless another request with the same key was faster.
    async fn refuse(
        &self,
        application: &Application,
        refused: CommandFailure,
    ) -> Result<Receipt, Problem> {
        match (refused, self.request_hash) {
            (CommandFailure::Rejected(problem), Some(request_hash)) => {
                let answered = self
                    .handle(application)
                    .refuse(StoredRejection::new(request_hash, problem))
                    .await;
                answered.map_err(|rejected| match rejected {
                    CommandError::Rejected(kept) => kept.answer_to(request_hash),
                    CommandError::Application(error) => error.into(),
                })
            }
            (CommandFailure::Rejected(problem) | CommandFailure::Retryable(problem), _) => {
                self.first_receipt(application).await?.ok_or(problem)
            }
        }
    }

    /// Appends the key and the hash of the request to `by`, for records that are not events.
    pub(super) fn signed(&self, by: &str) -> String {
        match self.request_hash {
            None => by.to_owned(),
            Some(request_hash) => format!(
                "{by} (key {}, request {})",
                self.id.as_uuid().simple(),
                request_hash.simple()
            ),
        }
    }

    /// Returns `true` if the record was made by this request.
    pub(super) fn has_signed(&self, by: &str) -> Result<bool, Problem> {
        let Some(request_hash) = self.request_hash else {
            return Ok(false);
        };
        let Some((_, signature)) = by.rsplit_once(" (key ") else {
            return Ok(false);
        };
        match signature.strip_prefix(&*self.id.as_uuid().simple().to_string()) {
            None => Ok(false),
            Some(rest) if rest == format!(", request {})", request_hash.simple()) => Ok(true),
            Some(_) => Err(reused()),
        }
    }

    fn check(&self, event: &StoredEvent) -> Result<(), Problem> {
        let Some(request_hash) = self.request_hash else {
            return Ok(());
        };
        let metadata: Metadata = serde_json::from_slice(&event.metadata).unwrap_or_default();
        match metadata
            .extra
            .get(REQUEST_HASH_KEY)
            .is_some_and(|found| *found == request_hash.to_string())
        {
            true => Ok(()),
            false => Err(reused()),
        }
    }
}

pub(super) fn reused() -> Problem {
    Problem::new(Kind::KeyReused, "take a new key for a new request")
}

/// Loads the event at `position`, which is known to be stored.
///
/// Its stream shows the event at once. The log also has events that are older or belong to other streams, but shows
/// this one only when all appends before it have ended.
async fn find(
    application: &Application,
    position: Position,
    stream: StreamId,
) -> Result<StoredEvent, Problem> {
    let recent = StreamQuery::new(stream).backwards().limit(RECENT);
    let recent = application.store().read_stream(recent).await?;
    if let Some(event) = recent.into_iter().find(|event| event.position == position) {
        return Ok(event);
    }
    let before = Position::new(position.as_u64().saturating_sub(1));
    application.store().wait_beyond(before, None).await?;
    let page = application.log(LogQuery::after(before).limit(1)).await?;
    let found = page
        .events
        .into_iter()
        .find(|event| event.position == position);
    found.ok_or_else(|| {
        Problem::new(
            Kind::Unavailable,
            "the command was carried out, but its event cannot be read yet; repeat the request",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(line: &'static str) -> Result<Option<Expected>, Problem> {
        expected(&HeaderMap::from_iter([(
            IF_MATCH,
            HeaderValue::from_static(line),
        )]))
    }

    #[test]
    fn if_match_names_versions() {
        let versions =
            |numbers: &[u64]| Expected::OneOf(numbers.iter().copied().map(Version::new).collect());
        assert_eq!(expected(&HeaderMap::new()).expect("nothing is fine"), None);
        for (line, wanted) in [
            ("*", Expected::Any),
            ("\"3\"", versions(&[3])),
            ("\"3\", \"4\"", versions(&[3, 4])),
            ("W/\"3\"", versions(&[])),
            ("\"abc\"", versions(&[0])),
        ] {
            assert_eq!(
                if_match(line).expect("it is well-formed"),
                Some(wanted),
                "{line}"
            );
        }
        for line in [
            "3",
            "",
            "\"3",
            "\"1\",",
            "\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"",
        ] {
            assert!(if_match(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_id_of_a_command_follows_from_its_key_forever() {
        let command = |key: &str| Command {
            key: Some(key.to_owned()),
            expected: None,
            actor: "api".to_owned(),
            wait: false,
        };
        let one = command("a").of("open", &1);
        let other = command("a").of("open", &2);

        assert_eq!(one.id.to_string(), "dce3fa79-2a59-535a-8129-b39dae265801");
        assert_eq!(
            one.request_hash
                .map(|request_hash| request_hash.to_string())
                .as_deref(),
            Some("abc4ade6-8af5-52fa-b5dc-234e016111a6")
        );
        assert!(one.id == other.id && one.request_hash != other.request_hash);
        assert_ne!(one.id, command("b").of("open", &1).id);
    }
}
