use eventsourcing_core::{Event, event};
use serde::{Deserialize, Serialize};

#[event]
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Opened,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
enum Untagged {
    Opened,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum Variants {
    Opened,
    #[serde(skip)]
    Skipped,
    #[serde(rename = "other", other)]
    Other,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum Conditional {
    Opened,
    #[cfg(test)]
    Tested,
    #[cfg_attr(test, serde(rename = "x"))]
    Renamed,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum Options {
    #[event(nmae = "Opened")]
    Opened,
    #[event(name = Closed)]
    Closed,
    #[event(version = "2")]
    Locked,
    #[event(version = 2, version = 3)]
    Unlocked,
    #[event(name = "")]
    Unnamed,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum Names {
    Opened,
    #[event(name = "Opened")]
    Reopened,
}

fn main() {
    fn is_event<E: Event>() {}
    is_event::<Tagged>();
    is_event::<Names>();
}
