//! Followers that take other events, or have other tables, than in the release before.

use std::time::Duration;

use derive_more::{Deref, From};
use eventsourcing::sql::SqlError;
use eventsourcing::store::{EventStore, LogQuery, Position};
use eventsourcing::system::FollowerState;
use eventsourcing::{
    FollowerName, PolicyName, ProjectionName, ReadModel, RecordedEvent, Root, Runner,
    RunningSystem, SqlProjection, SqlReadModel, System, Table, Tx, values,
};

use crate::domain::{Jar, Jars};
use crate::systems::{Audit, Audits, Home, Lid, LidEvent, Lids, finish};

macro_rules! release {
    ($(#[$meta:meta])* $name:ident, $($follows:tt)*) => {
        $(#[$meta])*
        #[derive(System)]
        #[system(name = "Audited")]
        struct $name {
            #[allow(dead_code, reason = "it is followed")]
            #[application(aggregates(Jar))]
            jars: Jars,
            #[allow(dead_code, reason = "it is followed")]
            #[application(aggregates(Lid))]
            lids: Lids,
            #[allow(dead_code, reason = "it runs by itself")]
            #[application(aggregates(Audit), follows($($follows)*))]
            audits: Audits,
        }
    };
}

release!(OfFilled, jars: Jar(Filled));
release!(OfAdded, jars: Jar(Added));
release!(OfAll, jars: Jar);
release!(OfEach, jars: Jar(Filled, Added, Taken));
release!(OfLidsToo, jars: Jar(Filled), lids: Lid);

/// A release from before there were lids.
#[derive(System)]
#[system(name = "Audited")]
struct Early {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(Audit), follows(jars: Jar(Filled)))]
    audits: Audits,
}

async fn make_lid(home: &Home) {
    let mut lid = Root::<Lid>::create([LidEvent::Made, LidEvent::Closed]);
    home.application("lids")
        .save(&mut lid)
        .await
        .expect("a lid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_takes_more_is_refused_if_it_has_passed_over_some_of_it() {
    for home in Home::all().await {
        home.fill(3).await;
        home.run::<OfFilled>().await;
        assert_eq!(home.audited().await, 3);
        let parts = [
            "follower audits takes other events",
            "also takes: Added, Taken of Jar",
            "Added of Jar ",
            "version 2 at position 2",
            ".changed_followers([\"audits\"])",
        ];
        home.assert_refused(home.builder::<OfAll>(), &parts).await;
        home.assert_refused(home.builder::<OfEach>(), &parts).await;
        home.run::<OfFilled>().await;

        finish(
            home.builder::<OfAll>()
                .changed_followers([FollowerName::new("audits")])
                .start()
                .await
                .expect("it was meant"),
        )
        .await;
        assert_eq!(
            home.audited().await,
            3,
            "{}: what lies before stays as it is",
            home.url()
        );
        home.fill(1).await;
        home.run::<OfAll>().await;
        assert_eq!(
            home.audited().await,
            5,
            "{}: it takes more from now on, and need not say so again",
            home.url()
        );
        home.run::<OfEach>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_takes_less_or_something_else_is_refused_if_it_has_processed_some_of_it() {
    for home in Home::all().await {
        home.fill(2).await;
        home.run::<OfAll>().await;
        home.assert_refused(
            home.builder::<OfFilled>(),
            &["no longer takes: Added, Taken of Jar"],
        )
        .await;
        finish(
            home.builder::<OfFilled>()
                .changed_followers([FollowerName::new("audits")])
                .start()
                .await
                .expect("it was meant"),
        )
        .await;
        let parts = ["also takes: Added of Jar; no longer takes: Filled of Jar"];
        home.assert_refused(home.builder::<OfAdded>(), &parts).await;
        home.run::<OfFilled>().await;
        assert_eq!(home.audited().await, 4, "{}", home.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_no_event_before_the_position_is_touched_by_is_recorded_and_nothing_more() {
    for home in Home::all().await {
        home.fill(1).await;
        home.run::<OfFilled>().await;
        // No lid exists yet.
        home.run::<OfLidsToo>().await;
        make_lid(&home).await;
        home.run::<OfLidsToo>().await;
        assert_eq!(home.audited().await, 3, "{}", home.url());
        // A lid exists by now.
        home.assert_refused(
            home.builder::<OfFilled>(),
            &["no longer takes: Closed, Made of Lid"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_a_record_records_what_it_takes_when_it_is_started() {
    for home in Home::all().await {
        home.fill(1).await;
        home.run::<OfFilled>().await;
        home.forget("audits", "events").await;
        home.run::<OfFilled>().await;
        home.assert_refused(home.builder::<OfAll>(), &["also takes"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_is_asked_for_itself() {
    for home in Home::all().await {
        home.fill(6).await;
        finish(
            home.builder::<OfFilled>()
                .with_partitions(PolicyName::new("audits"), 2)
                .start()
                .await
                .expect("a start"),
        )
        .await;
        home.assert_refused(
            home.builder::<OfAll>()
                .with_partitions(PolicyName::new("audits"), 2),
            &["also takes"],
        )
        .await;
        let meant = home
            .builder::<OfAll>()
            .with_partitions(PolicyName::new("audits"), 2)
            .changed_followers([FollowerName::new("audits")]);
        finish(meant.start().await.expect("it was meant")).await;
        home.fill(2).await;
        finish(
            home.builder::<OfAll>()
                .with_partitions(PolicyName::new("audits"), 2)
                .start()
                .await
                .expect("a start"),
        )
        .await;
        assert_eq!(home.audited().await, 6 + 4, "{}", home.url());
    }
}

/// An older release would skip events that a newer one takes. It releases the follower as soon as the newer release has
/// recorded which events it takes, also while it holds the lease.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_leaves_the_follower_to_a_newer_one_that_takes_what_it_does_not_know() {
    for home in Home::all().await {
        let leased = Runner::concurrent().with_leases(Duration::from_millis(300));
        home.fill(1).await;
        let older: RunningSystem<Early> = home
            .builder()
            .with_runner(leased)
            .start()
            .await
            .expect("a start");
        let caught_up =
            tokio::time::timeout(Duration::from_secs(60), older.wait_until_caught_up()).await;
        caught_up.expect("in time").expect("it catches up");

        let newer: RunningSystem<OfLidsToo> = home
            .builder()
            .with_runner(leased)
            .start()
            .await
            .expect("a start");
        make_lid(&home).await;
        let caught_up =
            tokio::time::timeout(Duration::from_secs(60), newer.wait_until_caught_up()).await;
        caught_up.expect("in time").expect("it catches up");
        assert_eq!(
            home.audited().await,
            3,
            "{}: a jar, and two events of a lid",
            home.url()
        );
        let audits = older.health().await.expect("an answer").followers.remove(0);
        let waits = matches!(
            audits.state,
            FollowerState::WaitingForRelease(_) | FollowerState::StandingBy { .. }
        );
        assert!(waits, "{}: {audits:?}", home.url());
        newer.stop().await.expect("a graceful end");

        make_lid(&home).await;
        let second_older: RunningSystem<Early> = home
            .builder()
            .with_runner(leased)
            .start()
            .await
            .expect("it may run");
        let failure = until_it_waits(&second_older).await;
        assert!(failure.contains("Closed, Made of Lid"), "{failure}");
        assert!(
            failure.contains(".changed_followers([\"audits\"])"),
            "{failure}"
        );
        second_older.stop().await.expect("a graceful end");
        older.stop().await.expect("a graceful end");
        home.run::<OfLidsToo>().await;
        assert_eq!(
            home.audited().await,
            5,
            "{}: nothing was passed over",
            home.url()
        );

        // The release is reverted for good.
        let early = home
            .builder::<Early>()
            .changed_followers([FollowerName::new("audits")])
            .start()
            .await
            .expect("it was meant");
        home.fill(1).await;
        finish(early).await;
        assert_eq!(home.audited().await, 6, "{}", home.url());
    }
}

/// Returns the reason for which the follower waits for another release. Processes that cannot go on take turns with the
/// lease.
async fn until_it_waits(early: &RunningSystem<Early>) -> String {
    let looking = async {
        loop {
            let audits = early.health().await.expect("an answer").followers.remove(0);
            if let FollowerState::WaitingForRelease(failure) = audits.state {
                return failure.cause;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking)
        .await
        .expect("it waits in time")
}

macro_rules! tally {
    ($release:ident, $version:literal, $tables:expr, $($follows:tt)*) => {
        #[allow(dead_code, reason = "some releases are only refused")]
        mod $release {
            use super::*;

            #[derive(Debug, Deref, From)]
            pub(super) struct Tally(ReadModel);

            impl SqlReadModel for Tally {
                const VERSION: u32 = $version;
                const TABLES: &'static [Table] = $tables;
            }

            impl SqlProjection<Jar> for Tally {
                type Error = SqlError;

                async fn project(&self, event: &RecordedEvent<Jar>, tx: &mut Tx<'_>) -> Result<(), SqlError> {
                    let sql = "INSERT INTO {jars_seen} (jar) VALUES ($1)";
                    tx.execute(sql, &values![event.aggregate_id]).await.map(drop)
                }
            }

            #[derive(System)]
            #[system(name = "Tallied")]
            pub(super) struct Tallied {
                #[expect(dead_code, reason = "it is followed")]
                #[application(aggregates(Jar))]
                jars: Jars,
                #[projection(sql, follows($($follows)*))]
                pub(super) tally: Tally,
            }
        }
    };
}

async fn rows(tally: &ReadModel) -> usize {
    tally
        .query("SELECT jar FROM {jars_seen}", &[])
        .await
        .expect("rows")
        .len()
}

const TABLES: &[Table] = &[Table::new("jars_seen", "jar TEXT NOT NULL")];
const REFORMATTED: &[Table] = &[Table::new("jars_seen", "jar TEXT\n    NOT NULL")];
const WIDER: &[Table] = &[Table::new("jars_seen", "jar TEXT NOT NULL, remark TEXT")];
const INDEXED: &[Table] = &[Table::new("jars_seen", "jar TEXT NOT NULL").with_indexes(&["jar"])];
const MORE: &[Table] = &[
    Table::new("jars_seen", "jar TEXT NOT NULL"),
    Table::new("remarks", "remark TEXT"),
];

tally!(first, 1, TABLES, jars: Jar(Filled));
tally!(reformatted, 1, REFORMATTED, jars: Jar(Filled));
tally!(wider, 1, WIDER, jars: Jar(Filled));
tally!(indexed, 1, INDEXED, jars: Jar(Filled));
tally!(more, 1, MORE, jars: Jar(Filled));
tally!(all, 1, TABLES, jars: Jar);
tally!(second, 2, WIDER, jars: Jar);
tally!(third, 2, WIDER, jars: Jar(Filled));

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_with_other_tables_or_events_needs_another_version() {
    for home in Home::all().await {
        home.fill(3).await;
        let first = home.start::<first::Tallied>().await;
        assert_eq!(rows(&first.tally).await, 3, "{}", home.url());
        finish(first).await;
        home.run::<reformatted::Tallied>().await;
        let parts = ["read model tally has other TABLES", "raise the VERSION"];
        home.assert_refused(home.builder::<wider::Tallied>(), &parts)
            .await;
        home.assert_refused(home.builder::<indexed::Tallied>(), &parts)
            .await;
        home.assert_refused(home.builder::<more::Tallied>(), &parts)
            .await;
        let parts = [
            "follower tally takes other events",
            "also takes: Added, Taken of Jar",
            "raise its VERSION",
        ];
        home.assert_refused(home.builder::<all::Tallied>(), &parts)
            .await;
        let meant = home
            .builder::<all::Tallied>()
            .changed_followers([FollowerName::new("tally")]);
        home.assert_refused(
            meant,
            &["tally is a read model in tables", "raise its VERSION"],
        )
        .await;

        let second = home.start::<second::Tallied>().await;
        assert_eq!(
            rows(&second.tally).await,
            6,
            "{}: it is built anew",
            home.url()
        );
        second
            .rebuild(ProjectionName::new("tally"))
            .await
            .expect("it begins")
            .finished()
            .await
            .expect("it is shown");
        finish(second).await;
        home.assert_refused(
            home.builder::<third::Tallied>(),
            &["no longer takes: Added, Taken of Jar"],
        )
        .await;
        let first = home.start::<first::Tallied>().await;
        assert_eq!(
            first.health().await.expect("an answer").followers[0]
                .failure()
                .map(ToString::to_string),
            None
        );
        first.stop().await.expect("a graceful end");
        let second = home.start::<second::Tallied>().await;
        let contents = second.verify_contents().await.expect("an answer").remove(0);
        assert!(contents.agrees(), "{contents}");
        finish(second).await;
        let page = home
            .stores
            .store()
            .read_log(LogQuery::after(Position::ZERO))
            .await
            .expect("the log");
        assert_eq!(page.events.len(), 6);
    }
}

/// The names of the tables were recorded before the events that are taken were.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_other_names_are_noticed_without_a_record_too() {
    for home in Home::all().await {
        home.fill(1).await;
        home.run::<first::Tallied>().await;
        home.forget_in_read_models("tally@1", "events").await;
        home.assert_refused(
            home.builder::<more::Tallied>(),
            &["has other TABLES", "raise the VERSION"],
        )
        .await;
        home.run::<first::Tallied>().await;
        home.assert_refused(home.builder::<all::Tallied>(), &["also takes"])
            .await;
    }
}
