//! A follower is gone while another one would begin at the first event.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use derive_more::{Deref, From};
use eventsourcing::sql::SqlError;
use eventsourcing::store::{Append, EventStore, MemoryStore, Position, Tracking};
use eventsourcing::{
    PolicyName, Projection, ProjectionName, ReadModel, RecordedEvent, SqlProjection, SqlReadModel,
    Stores, System, SystemBuilder, Table, Tx, values,
};
use jiff::Timestamp;

use crate::domain::{FixedShelves, Jar, Jars, Shelf};
use crate::systems::{Audit, Audits, Home, Pantry, finish};

#[derive(System)]
#[system(name = "Pantry")]
struct Renamed {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Shelf), follows(jars: Jar))]
    racks: FixedShelves,
}

/// The field has another name, the follower has not.
#[derive(System)]
#[system(name = "Pantry")]
struct RenamedField {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(name = "shelves", aggregates(Shelf), follows(jars: Jar))]
    racks: FixedShelves,
}

/// The shelves are gone, and there is something else.
#[derive(System)]
#[system(name = "Pantry")]
struct Replaced {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Audit), follows(jars: Jar))]
    audits: Audits,
}

#[derive(System)]
#[system(name = "Pantry")]
struct Extended {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Shelf), follows(jars: Jar))]
    shelves: FixedShelves,
    #[application(aggregates(Audit), follows(jars: Jar))]
    audits: Audits,
}

/// Another program on the same store.
#[derive(System)]
struct Office {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Audit), follows(jars: Jar))]
    audits: Audits,
}

/// Another program, which does what the first one does.
#[derive(System)]
struct Copycat {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Shelf), follows(jars: Jar))]
    racks: FixedShelves,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_another_name_is_refused_before_it_repeats_anything() {
    for home in Home::all().await {
        home.fill(5).await;
        home.run::<Pantry>().await;
        assert_eq!(home.changes_of_the_shelf().await, 10);

        let parts = [
            "follower shelves",
            "racks would begin",
            "name = \"shelves\"",
            ".removed_followers([\"shelves\"])",
        ];
        home.assert_refused(home.builder::<Renamed>(), &parts).await;
        home.run::<RenamedField>().await;
        assert_eq!(
            home.changes_of_the_shelf().await,
            10,
            "{}: each effect once",
            home.url()
        );
        home.assert_refused(home.builder::<Renamed>(), &parts).await;
        home.fill(1).await;
        home.run::<RenamedField>().await;
        assert_eq!(
            home.changes_of_the_shelf().await,
            12,
            "{}: it goes on",
            home.url()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_removed_on_purpose_is_named_once_and_not_missed_any_more() {
    for home in Home::all().await {
        home.fill(2).await;
        home.run::<Pantry>().await;
        home.assert_refused(
            home.builder::<Replaced>(),
            &["follower shelves", "audits would begin"],
        )
        .await;
        let builder = home
            .builder::<Replaced>()
            .removed_followers(["shelves", "never there"]);
        finish(builder.start().await.expect("it was meant")).await;
        assert_eq!(
            (home.audited().await, home.changes_of_the_shelf().await),
            (4, 4)
        );
        home.fill(1).await;
        home.run::<Replaced>().await;
        assert_eq!(
            (home.audited().await, home.changes_of_the_shelf().await),
            (6, 4)
        );

        // The removal is remembered for later releases.
        home.run::<Grown>().await;
        let builder = home.builder::<Replaced>().removed_followers(["audits"]);
        home.assert_refused(
            builder,
            &["Pantry declares the follower audits; remove it from removed_followers"],
        )
        .await;
    }
}

/// [`Replaced`] with one more policy.
#[derive(System)]
#[system(name = "Pantry")]
struct Grown {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Audit), follows(jars: Jar))]
    audits: Audits,
    #[application(aggregates(), follows(jars: Jar))]
    others: Idle,
}

/// Reacts to nothing.
struct Idle;

impl From<eventsourcing::Application> for Idle {
    fn from(_: eventsourcing::Application) -> Self {
        Self
    }
}

impl eventsourcing::Policy<Jar> for Idle {
    type Error = Infallible;

    async fn react(
        &self,
        _: &RecordedEvent<Jar>,
        _: &mut eventsourcing::UnitOfWork,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_on_one_store_do_not_miss_each_others_followers() {
    for home in Home::all().await {
        home.fill(2).await;
        let pantry = home.start::<Pantry>().await;
        let office = home.start::<Office>().await;
        assert_eq!(
            (home.changes_of_the_shelf().await, home.audited().await),
            (4, 4),
            "{}",
            home.url()
        );
        finish(pantry).await;
        // Each may grow while the other one is there.
        home.run::<Pantry>().await;
        finish(office).await;
        home.run::<Office>().await;

        let parts = [
            "Copycat does not declare the follower shelves",
            "racks would begin",
        ];
        home.assert_refused(home.builder::<Copycat>(), &parts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_beside_a_newer_one_goes_on() {
    for home in Home::all().await {
        home.fill(2).await;
        let older = home.start::<Pantry>().await;
        let newer = home.start::<Extended>().await;
        finish(older).await;
        home.run::<Pantry>().await;
        finish(newer).await;
        home.run::<Extended>().await;
        let builder = home.builder::<Replaced>().removed_followers(["shelves"]);
        finish(builder.start().await.expect("it was meant")).await;
        home.run::<Pantry>().await;
        home.fill(1).await;
        home.run::<Extended>().await;
        assert_eq!(
            (home.changes_of_the_shelf().await, home.audited().await),
            (6, 6),
            "{}",
            home.url()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_a_store_without_declarations_are_missed_if_they_have_processed_anything() {
    for home in Home::all().await {
        home.fill(2).await;
        home.run::<Pantry>().await;
        home.forget("eventsourcing.systems", "").await;
        home.assert_refused(
            home.builder::<Renamed>(),
            &["follower shelves", "racks would begin"],
        )
        .await;

        // A program that follows the log by hand has no declaration, and its follower does not belong to the system.
        let store = home.stores.store();
        let by_hand = Tracking::new("billing", store.log_id(), Position::ZERO, Position::new(3));
        store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(by_hand))
            .await
            .expect("a step");
        home.run::<Extended>().await;
        assert_eq!(home.audited().await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_in_partitions_is_known_by_the_name_of_the_whole() {
    for home in Home::all().await {
        home.fill(8).await;
        let builder = home
            .builder::<Pantry>()
            .with_partitions(PolicyName::new("shelves"), 4);
        finish(builder.start().await.expect("a start")).await;
        assert_eq!(home.changes_of_the_shelf().await, 16);
        for partitions in [1, 4] {
            let builder = home
                .builder::<Renamed>()
                .with_partitions(PolicyName::new("racks"), partitions);
            home.assert_refused(builder, &["follower shelves", "racks would begin"])
                .await;
        }
        let builder = home
            .builder::<RenamedField>()
            .with_partitions(PolicyName::new("shelves"), 4);
        finish(builder.start().await.expect("a start")).await;
        assert_eq!(home.changes_of_the_shelf().await, 16, "{}", home.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_could_repeat_nothing_are_not_refused() {
    for home in Home::all().await {
        home.run::<Pantry>().await;
        home.run::<Renamed>().await;
        home.fill(1).await;
        assert_eq!(
            home.changes_of_the_shelf().await,
            0,
            "{}: neither has run since",
            home.url()
        );
        home.run::<Renamed>().await;
        assert_eq!(home.changes_of_the_shelf().await, 2, "{}", home.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_moves_to_a_store_of_its_own_without_its_position_is_refused() {
    for home in Home::all().await {
        home.fill(2).await;
        home.run::<Pantry>().await;
        let stores = home.stores.clone().with("shelves", MemoryStore::new());
        let builder = SystemBuilder::<Pantry>::new(stores);
        home.assert_refused(
            builder,
            &[
                "shelves has kept its position in another store",
                "the store that it had",
            ],
        )
        .await;
    }
}

/// A foreign target that counts the events it receives.
struct Search(Arc<AtomicU64>);

impl Projection<Jar> for Search {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Jar>) -> Result<(), Infallible> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[derive(System)]
#[system(name = "Searched")]
struct Searched {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[projection(foreign, follows(jars: Jar))]
    search: Search,
}

#[derive(System)]
#[system(name = "Searched")]
struct SearchedElsewhere {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[projection(foreign, follows(jars: Jar))]
    index: Search,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_projection_of_another_name_is_refused_and_keeps_to_its_cut() {
    for home in Home::all().await {
        let sent = Arc::new(AtomicU64::new(0));
        let search = || Search(Arc::clone(&sent));
        home.fill(3).await;
        let builder = || {
            home.builder::<Searched>()
                .with_projection(ProjectionName::new("search"), search())
        };
        finish(builder().start().await.expect("a start")).await;
        let renamed = || {
            home.builder::<SearchedElsewhere>()
                .with_projection(ProjectionName::new("index"), search())
        };
        home.assert_refused(renamed(), &["follower search", "index would begin"])
            .await;
        let cut = builder().with_partitions(PolicyName::new("search"), 2);
        home.assert_refused(
            cut,
            &[
                "follower search has run in 1 partitions",
                "with_partitions(\"search\", 1)",
            ],
        )
        .await;
        assert_eq!(sent.load(Ordering::SeqCst), 6, "{}", home.url());
        finish(
            renamed()
                .removed_followers(["search"])
                .start()
                .await
                .expect("it was meant"),
        )
        .await;
        assert_eq!(
            sent.load(Ordering::SeqCst),
            12,
            "{}: it is another one",
            home.url()
        );
    }
}

#[derive(Debug, Deref, From)]
struct Tally(ReadModel);

impl SqlReadModel for Tally {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new("tally", "jar TEXT NOT NULL")];
}

impl SqlProjection<Jar> for Tally {
    type Error = SqlError;

    async fn project(&self, event: &RecordedEvent<Jar>, tx: &mut Tx<'_>) -> Result<(), SqlError> {
        tx.execute(
            "INSERT INTO {tally} (jar) VALUES ($1)",
            &values![event.aggregate_id],
        )
        .await
        .map(drop)
    }
}

#[derive(System)]
#[system(name = "Tallied")]
struct Tallied {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[projection(sql, follows(jars: Jar))]
    tally: Tally,
}

#[derive(System)]
#[system(name = "Tallied")]
struct TalliedElsewhere {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[projection(sql, follows(jars: Jar))]
    counts: Tally,
}

/// The only effects of the read model are in its tables, which are not given to another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_another_name_cannot_write_into_the_tables_a_second_time() {
    for home in Home::all().await {
        home.fill(3).await;
        let tallied = home.start::<Tallied>().await;
        let parts = [
            "refuses the tables of the read model counts",
            "name = \"…\"",
        ];
        home.assert_refused(home.builder::<TalliedElsewhere>(), &parts)
            .await;
        let rows = tallied
            .tally
            .query("SELECT jar FROM {tally}", &[])
            .await
            .expect("rows")
            .len();
        assert_eq!(rows, 6, "{}", home.url());
        finish(tallied).await;
    }
}

/// Listing the followers of a store with a million stored rejections is not slower: rejections are skipped.
#[tokio::test(flavor = "multi_thread")]
async fn kept_refusals_are_no_followers_and_are_passed_over() {
    let store = MemoryStore::new();
    for number in 0..2_500 {
        let keeper = format!("refusal:{}", uuid::Uuid::from_u128(number));
        let step = Tracking::new(keeper, store.log_id(), Position::ZERO, Position::ZERO);
        store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
            .expect("a step");
    }
    let home = Home::of(Stores::shared(store));
    home.fill(2).await;
    home.run::<Pantry>().await;
    home.assert_refused(home.builder::<Renamed>(), &["follower shelves"])
        .await;
}
