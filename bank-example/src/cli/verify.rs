//! Checks that every follower has processed every event exactly once.

use bank_example::system::EventSourcedBank;
use eventsourcing::RunningSystem;
use eventsourcing::system::{
    ContentsVerification, Difference, EventPlace, Finding, FollowerVerification, Verification,
};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{Output, table};
use super::progress;

pub(super) async fn run(
    bank: &RunningSystem<EventSourcedBank>,
    contents: bool,
) -> Result<Output, Failure> {
    let bar = progress::bar("");
    let draw = |progress: &eventsourcing::system::VerifyProgress| {
        bar.set_prefix(progress.follower.to_string());
        bar.set_position(progress.position.as_u64());
        bar.set_length(progress.end.as_u64());
    };
    let verification = bank.verify_with(draw).await?;
    let contents = match contents {
        true => Some(bank.verify_contents_with(draw).await?),
        false => None,
    };
    bar.finish_and_clear();
    Ok(show(&verification, contents.as_deref()))
}

fn show(verification: &Verification, contents: Option<&[ContentsVerification]>) -> Output {
    let compared = contents.unwrap_or_default();
    let disagreeing = verification
        .followers
        .iter()
        .filter(|follower| !follower.agrees())
        .count()
        + compared
            .iter()
            .filter(|read_model| !read_model.agrees())
            .count();
    let rows = verification
        .followers
        .iter()
        .map(|follower| row(follower, contents));
    let header = ["follower", "events", "position", "outcome"];
    let mut lines = vec![table(&header, &[1, 2], rows)];
    lines.extend(verification.differences().map(ToString::to_string));
    lines.extend(
        compared
            .iter()
            .filter(|read_model| !read_model.agrees())
            .map(ToString::to_string),
    );
    let json = json!({
        "agrees": disagreeing == 0,
        "followers": verification.followers.iter().map(follower_json).collect::<Vec<_>>(),
        "contents": contents.map(|contents| contents.iter().map(contents_json).collect::<Vec<_>>()),
    });
    let failure = (disagreeing > 0).then(|| {
        Failure::Refused(format!(
            "{disagreeing} of the checks did not agree with the log"
        ))
    });
    Output::new(lines.join("\n"), json).fail(failure)
}

fn row(follower: &FollowerVerification, contents: Option<&[ContentsVerification]>) -> Vec<String> {
    let outcome = match (&follower.unchecked, follower.differences.len()) {
        (Some(why), _) => format!("not checked: {why}"),
        (None, 0) => "each processed once".to_owned(),
        (None, 1) => "differs from the log, see below".to_owned(),
        (None, differences) => format!("differs from the log in {differences} places, see below"),
    };
    let compared = contents.and_then(|contents| {
        contents
            .iter()
            .find(|compared| compared.name == follower.name)
    });
    let outcome = match compared {
        None => outcome,
        Some(compared) if compared.agrees() => {
            format!("{outcome}; {} rows equal to a rebuild", compared.rows)
        }
        Some(compared) if compared.unchecked.is_some() => {
            format!("{outcome}; rows not compared")
        }
        Some(compared) => format!("{outcome}; {} rows, not equal to a rebuild", compared.rows),
    };
    vec![
        follower.name.to_string(),
        follower.events.to_string(),
        follower.position.to_string(),
        outcome,
    ]
}

fn follower_json(follower: &FollowerVerification) -> Value {
    json!({
        "name": follower.name.as_str(),
        "events": follower.events,
        "position": follower.position,
        "slices": follower.slices,
        "agrees": follower.agrees(),
        "unchecked": follower.unchecked,
        "differences": follower.differences.iter().map(difference_json).collect::<Vec<_>>(),
    })
}

fn difference_json(difference: &Difference) -> Value {
    let (finding, events) = match &difference.finding {
        Finding::Missing(events) => ("missing", events.iter().collect()),
        Finding::Doubled(events) => ("doubled", events.iter().collect()),
        Finding::Exchanged(events) => ("exchanged", events.iter().collect()),
        Finding::Replaced { missing, by } => ("replaced", vec![missing, by]),
        Finding::Stray(event) => ("stray", vec![event]),
        _ => ("unclear", Vec::new()),
    };
    json!({
        "follower": difference.follower.as_str(),
        "after": difference.slice.start(),
        "to": difference.slice.end(),
        "expected": difference.expected,
        "noted": difference.noted,
        "finding": finding,
        "events": events.into_iter().map(event_json).collect::<Vec<_>>(),
        "text": difference.to_string(),
    })
}

fn event_json(event: &EventPlace) -> Value {
    json!({
        "name": event.name.as_str(),
        "aggregate": event.stream.category.as_str(),
        "id": event.stream.id,
        "version": event.version,
        "position": event.position,
    })
}

fn contents_json(compared: &ContentsVerification) -> Value {
    let table = |difference: &eventsourcing::system::TableDifference| {
        let examples = difference
            .examples
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        json!({ "table": difference.table, "rows": difference.rows, "examples": examples })
    };
    json!({
        "name": compared.name.as_str(),
        "events": compared.events,
        "position": compared.position,
        "rows": compared.rows,
        "agrees": compared.agrees(),
        "unchecked": compared.unchecked,
        "tables": compared.differences.iter().map(table).collect::<Vec<_>>(),
    })
}
