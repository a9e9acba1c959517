//! Every macro and every option of it, expanded where the framework is known as `es`.

use std::convert::Infallible;
use std::error::Error;

use es::prelude::*;

type Tested = Result<(), Box<dyn Error>>;

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[aggregate(name = "Jar", former_names("Pot"), snapshot = every(2))]
struct Jar {
    beans: u32,
}

#[cfg_attr(feature = "schema", event(schema, split(name = "Moved", with = moved), retired("Shaken")))]
#[cfg_attr(not(feature = "schema"), event(split(name = "Moved", with = moved), retired("Shaken")))]
impl Jar {
    #[event(version = 2, upcast(from = 1, with = in_beans))]
    fn filled(beans: u32) -> Self {
        Self { beans }
    }
    #[event(former_names("Put"))]
    fn added(&mut self, beans: u32, _note: Option<String>) {
        self.beans = self.beans.saturating_add(beans);
    }
    fn taken(&mut self, beans: u32) {
        self.beans = self.beans.saturating_sub(beans);
    }
}

#[derive(Deserialize)]
struct InDozens {
    dozens: u32,
}

#[derive(Serialize)]
struct InBeans {
    beans: u32,
}

fn in_beans(old: InDozens) -> InBeans {
    InBeans {
        beans: old.dozens * 12,
    }
}

#[derive(Deserialize)]
struct Moved {
    out: u32,
    back: u32,
}

fn moved(old: Moved) -> [JarEvent; 2] {
    [
        JarEvent::Taken { beans: old.out },
        JarEvent::Added {
            beans: old.back,
            note: None,
        },
    ]
}

impl Jar {
    fn take(&self, beans: u32) -> Result<JarEvent, String> {
        match beans <= self.beans {
            true => Ok(JarEvent::Taken { beans }),
            false => Err(format!("only {} beans are left", self.beans)),
        }
    }
}

/// Events as an enum and a fold by hand.
#[cfg_attr(feature = "schema", event(schema))]
#[cfg_attr(not(feature = "schema"), event)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum ShelfEvent {
    Built,
    Changed { by: i64 },
}

#[derive(Aggregate, Debug, Serialize, Deserialize)]
struct Shelf {
    beans: i64,
}

impl es::Fold<ShelfEvent> for Shelf {
    fn create(event: ShelfEvent) -> Result<Self, es::UnexpectedEvent> {
        match event {
            ShelfEvent::Built => Ok(Self { beans: 0 }),
            ShelfEvent::Changed { .. } => Err(es::UnexpectedEvent),
        }
    }
    fn apply(&mut self, event: ShelfEvent) -> Result<(), es::UnexpectedEvent> {
        match event {
            ShelfEvent::Built => return Err(es::UnexpectedEvent),
            ShelfEvent::Changed { by } => self.beans = self.beans.saturating_add(by),
        }
        Ok(())
    }
}

fn shelf() -> Id<Shelf> {
    Id::named("shelf")
}

struct Jars(Application);

impl From<Application> for Jars {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

struct Shelves(Application);

impl From<Application> for Shelves {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

impl Policy<Jar> for Shelves {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let by = match event.payload {
            JarEvent::Filled { beans } | JarEvent::Added { beans, .. } => i64::from(beans),
            JarEvent::Taken { beans } => -i64::from(beans),
        };
        work.load_or_create(shelf(), || ShelfEvent::Built)
            .await?
            .record(ShelfEvent::Changed { by });
        Ok(())
    }
}

#[derive(Default)]
struct Counter;

impl Projection<Jar> for Counter {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Jar>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(System)]
#[cfg_attr(feature = "schema", system(schema))]
struct Pantry {
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Shelf), follows(jars: Jar))]
    shelves: Shelves,
    #[projection(name = "counter", follows(jars: Jar(Filled)))]
    _counter: Counter,
}

async fn fill(pantry: &RunningSystem<Pantry>) -> Result<Id<Jar>, Box<dyn Error>> {
    let jar = pantry
        .jars
        .0
        .create(|| JarEvent::Filled { beans: 5 })
        .await?
        .id;
    pantry
        .jars
        .0
        .update(jar, |jar| jar.take(3))
        .await
        .map_err(|error| format!("{error:?}"))?;
    let refused = pantry.jars.0.update(jar, |jar| jar.take(3)).await;
    assert!(
        matches!(&refused, Err(CommandError::Rejected(why)) if why == "only 2 beans are left"),
        "{refused:?}"
    );
    pantry.wait_until_caught_up().await?;
    assert_eq!(pantry.shelves.0.load(shelf()).await?.beans, 2);
    Ok(jar)
}

#[tokio::test]
async fn a_system_runs() -> Tested {
    let pantry = Pantry::start(es::store::open("memory:").await?, Runner::inline()).await?;
    let jar = fill(&pantry).await?;
    assert_eq!(*pantry.jars.0.load(jar).await?, Jar { beans: 2 });
    pantry.stop().await?;
    Ok(())
}

#[cfg(feature = "testing")]
mod laws {
    use serde_json::json;

    use super::*;

    es::testing::laws!(Shelf);
    es::testing::laws!(
        Jar,
        decide = [Jar::take],
        samples = [
            ("Filled", 1, json!({ "dozens": 1 })),
            ("Moved", 1, json!({ "out": 1, "back": 1 }))
        ]
    );
    es::testing::laws!(policy Shelves: Jar);

    #[test]
    fn a_rule_is_tested_without_a_store() {
        use es::testing::Scenario as _;

        Jar::given([JarEvent::Filled { beans: 1 }])
            .when(|jar| jar.take(1))
            .then([JarEvent::Taken { beans: 1 }]);
    }
}

#[cfg(feature = "testing")]
mod conformance {
    use es::store::MemoryStore;
    use es::testing::conformance::Fixture;

    struct InMemory(MemoryStore);

    impl Fixture for InMemory {
        type Store = MemoryStore;

        async fn new() -> Self {
            Self(MemoryStore::new())
        }

        async fn open(&self) -> MemoryStore {
            self.0.clone()
        }
    }

    es::testing::conformance!(InMemory);
}

#[cfg(feature = "schema")]
#[test]
fn a_system_says_what_its_events_look_like() -> Tested {
    let lock =
        es::schema::SystemSchema::of::<Pantry>().update(&es::schema::SchemaLock::default())?;
    let text = lock.to_string();
    assert!(
        text.contains("Filled") && text.contains("Changed"),
        "{text}"
    );
    Ok(())
}

#[cfg(feature = "archive")]
#[tokio::test]
async fn a_log_moves_to_another_store() -> Tested {
    use std::io::Cursor;

    let old = es::store::open("memory:").await?;
    let pantry = Pantry::start(old.clone(), Runner::inline()).await?;
    let jar = fill(&pantry).await?;
    pantry.stop().await?;
    let mut archive = Vec::new();
    es::archive::export::<Pantry>(old.store(), &mut archive, |_| {}).await?;
    let new = es::store::open("memory:").await?;
    es::archive::import(new.store(), Cursor::new(archive), |_| {}).await?;
    assert_eq!(
        Application::new("jars", new.store()).load(jar).await?.beans,
        2
    );
    Ok(())
}

#[cfg(feature = "message-pack")]
#[tokio::test]
async fn payloads_can_be_message_pack() -> Tested {
    let builder =
        Pantry::builder(es::store::open("memory:").await?).with_codec(es::Codec::MessagePack);
    let pantry = builder.with_runner(Runner::inline()).start().await?;
    fill(&pantry).await?;
    pantry.stop().await?;
    Ok(())
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn payloads_can_be_compressed() -> Tested {
    let builder = Pantry::builder(es::store::open("memory:").await?)
        .with_compression(es::Compression::zstd());
    let pantry = builder.with_runner(Runner::inline()).start().await?;
    let jar = fill(&pantry).await?;
    let note = Some("beans ".repeat(1_000));
    let added = |_: &Jar| JarEvent::Added {
        beans: 1,
        note: note.clone(),
    };
    pantry.jars.0.update(jar, added).await?;
    assert_eq!(pantry.jars.0.load(jar).await?.beans, 3);
    pantry.stop().await?;
    Ok(())
}
