//! Read models: a rebuild or verification that panics ends, with its reason.

use eventsourcing_core::{OnFailure, Runner};
use tokio::time::timeout;

use crate::followers::{Place, Way};
use crate::points::{Point, When, arm, disarm, turn, unharmed};
use crate::shop::TIMEOUT;
use crate::{runtime, stores, whens};

/// The points that building a read model reaches.
const OF_READ_MODELS: &[Point] = &[
    Point::DecodeEvent,
    Point::Upcast,
    Point::Split,
    Point::Clock,
    Point::ProjectInSql,
    Point::NewId,
];

fn ways() -> [Way; 2] {
    [Runner::inline(), Runner::concurrent()].map(|runner| Way::new(runner, OnFailure::Stop))
}

#[test]
fn a_panic_while_a_read_model_is_built_anew_fails_the_build_and_the_old_one_answers() {
    let _turn = turn();
    let mut fired = 0;
    for &point in OF_READ_MODELS {
        for way in ways() {
            for when in whens() {
                for (kind, store) in stores() {
                    let what = format!("{point:?}, {when:?}, {kind}, {way:?}");
                    fired += runtime().block_on(async {
                        let place = Place::open(store, way).await;
                        place.fill().await;
                        place.settle(&what).await;
                        build(&place, point, when, &what).await
                    });
                }
            }
        }
    }
    assert!(fired > 0);
}

async fn build(place: &Place, point: Point, when: When, what: &str) -> u32 {
    arm(point, when);
    let build = unharmed(place.shop.rebuild(crate::shop::Shop::REPORT))
        .await
        .unwrap();
    let built = timeout(TIMEOUT, build.finished())
        .await
        .unwrap_or_else(|_| panic!("{what}: a silent end"));
    let fired = disarm();
    assert!(built.is_ok() || fired > 0, "{what}: {built:?}");
    if let Err(error) = built {
        assert!(error.to_string().contains("injected"), "{what}: {error}");
        let rows = place
            .shop
            .report
            .0
            .query("SELECT quantity FROM {report}", &[])
            .await
            .unwrap();
        assert_eq!(rows.len(), 13, "{what}: the old one answers");
        let again = place.shop.rebuild(crate::shop::Shop::REPORT).await.unwrap();
        timeout(TIMEOUT, again.finished())
            .await
            .unwrap_or_else(|_| panic!("{what}: a silent end"))
            .unwrap();
    }
    place.settle(what).await;
    for contents in place.shop.verify_contents().await.unwrap() {
        assert!(contents.agrees(), "{what}: {contents}");
    }
    fired
}

#[test]
fn a_panic_while_contents_are_verified_is_said_and_changes_nothing() {
    let _turn = turn();
    let mut fired = 0;
    for &point in OF_READ_MODELS {
        for when in whens() {
            for (kind, store) in stores() {
                let what = format!("{point:?}, {when:?}, {kind}");
                fired += runtime().block_on(async {
                    let place = Place::open(store, ways()[0]).await;
                    place.fill().await;
                    place.settle(&what).await;
                    verify(&place, point, when, &what).await
                });
            }
        }
    }
    assert!(fired > 0);
}

async fn verify(place: &Place, point: Point, when: When, what: &str) -> u32 {
    arm(point, when);
    let events = timeout(TIMEOUT, place.shop.verify())
        .await
        .unwrap_or_else(|_| panic!("{what}: a silent end"))
        .unwrap();
    assert!(events.agrees(), "{what}: {events}");
    let contents = timeout(TIMEOUT, place.shop.verify_contents()).await;
    let contents = contents
        .unwrap_or_else(|_| panic!("{what}: a silent end"))
        .unwrap();
    let fired = disarm();
    let unchecked = contents
        .iter()
        .find_map(|contents| contents.unchecked.clone());
    match unchecked {
        None => assert_eq!(fired, 0, "{what}: it was compared in spite of a panic"),
        Some(why) => assert!(why.contains("injected"), "{what}: {why}"),
    }
    for contents in place.shop.verify_contents().await.unwrap() {
        assert!(contents.agrees(), "{what}: {contents}");
    }
    fired
}
