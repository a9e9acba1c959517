use eventsourcing_testing::laws;
use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
struct Jar {
    beans: u32,
}

#[event]
impl Jar {
    fn filled(beans: u32) -> Self {
        Self { beans }
    }
}

laws!();
laws!("Jar");
laws!(policy Jar);
laws!(Jar decide = []);
laws!(Jar, sample = []);
laws!(Jar, colour = 1);
laws!(policy Keeper: Jar, decide = [Jar::take]);
laws!(Jar, decide = Jar::take);
laws!(Jar, events);
laws!(Jar, events = [], events = []);

fn main() {}
