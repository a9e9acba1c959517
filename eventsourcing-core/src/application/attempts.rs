//! The certainty about a command with several attempts: that of its least certain attempt.

use crate::store::{Expected, StoreError, Written};

/// The attempts at one append with a command id.
#[derive(Default)]
pub(super) struct Attempts {
    /// The reason of the first attempt that had no answer, so that it may have been written.
    unanswered: Option<String>,
}

impl Attempts {
    /// Remembers how an attempt ended, before the next one is made.
    pub(super) fn note(&mut self, error: &StoreError) {
        if let (
            StoreError::Unavailable {
                reason,
                written: Written::Unknown,
                ..
            },
            None,
        ) = (error, &self.unanswered)
        {
            self.unanswered = Some(reason.clone());
        }
    }

    /// Returns `true` if an attempt had no answer of which it is not known whether it was written.
    pub(super) fn are_unanswered(&self) -> bool {
        self.unanswered.is_some()
    }

    /// The answer to the command, of which `last` is the last attempt's.
    ///
    /// An error of one attempt says that this attempt wrote nothing. If another one may have, that is not the answer: the
    /// attempt may have been carried out after all, or may still be on its way.
    pub(super) fn conclude(&self, last: StoreError) -> StoreError {
        match &self.unanswered {
            Some(first) if !settles_all_attempts(&last) => {
                let reason = unknown_after(first, &last);
                match last {
                    StoreError::Unavailable { source, .. } => StoreError::Unavailable {
                        reason,
                        written: Written::Unknown,
                        source,
                    },
                    other => StoreError::unavailable(reason, other),
                }
            }
            _ => last,
        }
    }
}

/// A store looks for the receipt of a command before it judges it. So a refusal proves that no attempt was carried out
/// before, and if the reason for it holds forever, that none will be: versions only grow, and so do tokens,
/// and an epoch ends only when nothing that was asked in it is under way any more.
fn settles_all_attempts(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict {
            expected: Expected::NoStream | Expected::Exact(_),
            ..
        }
        | StoreError::LeaseLost { .. }
        | StoreError::OutdatedEpoch { .. }
        // Receipts stay, so nothing of the append is ever written from now on.
        | StoreError::Repeated { .. } => true,
        StoreError::TrackingConflict {
            expected, actual, ..
        } => actual > expected,
        _ => false,
    }
}

fn unknown_after(first: &str, last: &StoreError) -> String {
    let last = match last {
        StoreError::Unavailable { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    let advice = "so it is not known whether the command was carried out; repeat it with the same command id";
    if last == first {
        return format!("{last}; an attempt had no answer, {advice}");
    }
    format!("{last}; an earlier attempt had no answer ({first}), {advice}")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::{StreamId, Version};

    fn unavailable(reason: &str, written: Written) -> StoreError {
        StoreError::Unavailable {
            reason: reason.to_owned(),
            written,
            source: None,
        }
    }

    fn conflict(expected: Expected) -> StoreError {
        let stream = StreamId::new("Jar", Uuid::nil());
        StoreError::Conflict {
            stream,
            expected,
            actual: Version::FIRST,
        }
    }

    fn after_a_lost_reply(last: StoreError) -> StoreError {
        let mut attempts = Attempts::default();
        attempts.note(&unavailable("the reply is lost", Written::Unknown));
        attempts.note(&unavailable("refused", Written::Nothing));
        attempts.conclude(last)
    }

    #[test]
    fn unknown_attempt_is_not_forgotten() {
        let invalid = StoreError::Invalid {
            reason: "permission denied".into(),
        };
        let corrupt = StoreError::Corrupt {
            reason: "damaged".into(),
            source: None,
        };
        for last in [
            unavailable("refused", Written::Nothing),
            invalid,
            corrupt,
            conflict(Expected::Exists),
        ] {
            let why = last.to_string();
            let error = after_a_lost_reply(last);
            assert!(!error.proves_nothing_written(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("the reply is lost") && text.contains("not known"),
                "{why}: {text}"
            );
            assert!(!text.contains("wrote nothing"), "{text}");
        }
    }

    #[test]
    fn what_holds_for_all_attempts_is_passed_on() {
        let error = after_a_lost_reply(conflict(Expected::Exact(Version::new(2))));
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        let mut attempts = Attempts::default();
        attempts.note(&unavailable("refused", Written::Nothing));
        let error = attempts.conclude(unavailable("refused", Written::Nothing));
        assert!(error.proves_nothing_written(), "{error}");
    }
}
