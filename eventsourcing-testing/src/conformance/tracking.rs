//! P20 to P22 and P40: the positions of followers, steps that happen once, and the list of followers.

use eventsourcing_core::store::{
    Cut, EventStore, Expected, FollowerPosition, FollowerStore, FollowersQuery, LogId, LogQuery,
    Name, NotesQuery, Position, Revision, StoreError, StreamId, Tracking,
};

use super::assertions::{
    Picture, assert_invalid, assert_tracking_conflict, head_of, stream_of, texts_of, tracking_of,
};
use super::builders::{
    FOLLOWER, append, append_to, event, numbered_events, other_stream, snapshot, step_from, stream,
};
use super::concurrency::{Start, race};
use super::{Fixture, FollowerFixture};
use crate::Seed;

/// P20: Tracking is written with the append that carries it, or neither is.
pub async fn tracking_is_written_with_its_append_or_not_at_all<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let step = |from: u64, to| {
        append_to(&stream, "work").with_tracking(step_from(from, store.log_id()).to(to))
    };
    store
        .append(step(0, 3))
        .await
        .expect("the follower starts at 0");
    let before = Picture::with_follower(&fixture.open().await, &[&stream]).await;

    let guarded = step(3, 5).with_guard(other_stream(), Expected::Exists);
    assert!(
        store.append(guarded).await.is_err(),
        "the guard does not hold"
    );
    let beyond = step(3, 5).with_snapshot(snapshot(&stream, 9));
    assert_invalid(store.append(beyond).await, "a snapshot beyond its stream");
    assert_tracking_conflict(store.append(step(2, 5)).await, &FOLLOWER, 3);
    let fresh = fixture.open().await;
    assert_eq!(
        before,
        Picture::with_follower(&fresh, &[&stream]).await,
        "neither is written"
    );

    store
        .append(step(3, 5))
        .await
        .expect("the follower is at 3");
    assert_eq!(
        tracking_of(&fresh, &FOLLOWER, store.log_id()).await,
        Position::new(5)
    );
    assert_eq!(stream_of(&fresh, &stream).await.len(), 2);
}

/// P21: Tracking names the positions from and to which the follower moves; if the follower is not at `from`, nothing is written
/// and the error has its position.
pub async fn step_from_elsewhere_is_refused_and_says_where_the_follower_is<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    let step = |from: u64, to| {
        append_to(&stream, "work").with_tracking(step_from(from, store.log_id()).to(to))
    };
    assert_tracking_conflict(store.append(step(1, 2)).await, &FOLLOWER, 0);
    store
        .append(step(0, 10))
        .await
        .expect("the follower starts at 0");
    for from in [0, 5, 9, 11, 1_000] {
        assert_tracking_conflict(store.append(step(from, from + 1_000)).await, &FOLLOWER, 10);
    }
    assert_tracking_conflict(
        fixture.open().await.append(step(0, 10)).await,
        &FOLLOWER,
        10,
    );
    assert_eq!(
        stream_of(&fixture.open().await, &stream).await.len(),
        1,
        "nothing may be written"
    );

    store
        .append(step(10, Position::MAX.as_u64()))
        .await
        .expect("the follower is at 10");
    assert_eq!(
        tracking_of(&store, &FOLLOWER, store.log_id()).await,
        Position::MAX
    );
}

/// P21: A step to an earlier position is accepted only if it is marked as going back.
pub async fn step_goes_back_only_if_it_says_so<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let log = store.log_id();
    let make = |step: Tracking| store.append(append().with_tracking(step));
    make(step_from(0, log).to(10).with_note("kept", "value"))
        .await
        .expect("the follower starts at 0");
    let before = Picture::with_follower(&fixture.open().await, &[]).await;
    assert_invalid(
        make(step_from(10, log).to(9)).await,
        "a step back that does not say so",
    );
    assert_tracking_conflict(
        make(step_from(9, log).to(4).going_back()).await,
        &FOLLOWER,
        10,
    );
    let fresh = fixture.open().await;
    assert_eq!(
        before,
        Picture::with_follower(&fresh, &[]).await,
        "nothing may be written"
    );

    make(
        step_from(10, log)
            .to(4)
            .going_back()
            .with_note("why", "restored"),
    )
    .await
    .expect("the follower is at 10");
    let notebook = fresh
        .notes(NotesQuery::new(FOLLOWER, log, ""))
        .await
        .expect("the notes are read");
    let keys: Vec<_> = notebook.notes.keys().map(String::as_str).collect();
    assert_eq!(
        (notebook.position.as_u64(), notebook.revision.as_u64(), keys),
        (4, 2, vec!["kept", "why"])
    );
    assert_tracking_conflict(make(step_from(10, log).to(11)).await, &FOLLOWER, 4);
    make(step_from(4, log).to(0).going_back())
        .await
        .expect("the follower is at 4");
    make(step_from(0, log).to(3).going_back())
        .await
        .expect("a step that may go back may also go forward");
    assert_eq!(tracking_of(&fresh, &FOLLOWER, log).await, Position::new(3));
}

/// P21: Two runners of one follower never both process the same event.
pub async fn two_runners_of_one_follower_do_each_step_once<F: FollowerFixture>(fixture: &F) {
    let seed = Seed::from_env();
    let store = fixture.open().await;
    let upstream = stream();
    let work = other_stream();

    for _ in 0..6 {
        let events = append().with_events(upstream.clone(), Expected::Any, numbered_events(10));
        store.append(events).await.expect("any version");
    }
    let end = head_of(&store).await;
    let mut runners = Vec::new();
    for number in 0..3 {
        let runner = Runner {
            end,
            store: fixture.open().await,
            work: work.clone(),
            rng: seed.rng(number),
        };
        runners.push(runner.run());
    }
    let done: usize = race::<F, _>(Start::Together, runners)
        .await
        .into_iter()
        .sum();

    let upstream = stream_of(&store, &upstream).await;
    let expected: Vec<_> = upstream
        .iter()
        .map(|event| event.position.to_string())
        .collect();
    assert_eq!(
        texts_of(&stream_of(&store, &work).await),
        expected,
        "each step is done once, in order"
    );
    assert_eq!(done, 60, "the runners together know of each step once");
    assert_eq!(tracking_of(&store, &FOLLOWER, store.log_id()).await, end);
}

/// Follows the log up to `end` and records the position of each event.
struct Runner<S> {
    end: Position,
    store: S,
    work: StreamId,
    rng: fastrand::Rng,
}

impl<S: FollowerStore> Runner<S> {
    /// Returns the number of steps of this runner.
    async fn run(mut self) -> usize {
        let mut done = 0;
        let mut at = Position::ZERO;
        while at < self.end {
            match self.step(at).await {
                Ok((to, steps)) => (at, done) = (to, done + steps),
                Err(StoreError::TrackingConflict { actual, .. }) => at = actual,
                Err(error) => {
                    panic!("a step may only fail because the other runner was first: {error:?}")
                }
            }
            tokio::task::yield_now().await;
        }
        done
    }

    async fn step(&mut self, from: Position) -> Result<(Position, usize), StoreError> {
        let limit = self.rng.usize(1..5);
        let page = self
            .store
            .read_log(LogQuery::after(from).limit(limit))
            .await?;
        let to = page.ceiling.min(self.end);
        let upstream = page
            .events
            .iter()
            .filter(|upstream| upstream.position <= self.end);
        let events: Vec<_> = upstream
            .map(|upstream| event(&upstream.position.to_string()))
            .collect();
        let steps = events.len();
        let tracking = Tracking::new(FOLLOWER, self.store.log_id(), from, to);
        let append = append()
            .with_events(self.work.clone(), Expected::Any, events)
            .with_tracking(tracking);
        self.store.append(append).await?;
        Ok((to, steps))
    }
}

/// P21: A store that keeps no followers refuses their steps, rather than forget them.
pub async fn step_is_refused_where_there_are_no_followers<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let before = Picture::of(&store, &[&stream]).await;
    let step = step_from(0, store.log_id()).to(1);
    for append in [append(), append_to(&stream, "1")] {
        let refused = store.append(append.with_tracking(step.clone())).await;
        assert_invalid(refused, "a step");
    }
    assert_eq!(
        before,
        Picture::of(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

/// P22: Followers are independent; an unknown follower is at 0; names are case-sensitive.
pub async fn followers_are_independent<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let here = store.log_id();
    let elsewhere = LogId::new();

    let followers = ["statements", "Statements", "statements ", "statement"];
    let places: Vec<_> = followers
        .iter()
        .flat_map(|name| [(*name, here), (*name, elsewhere)])
        .collect();
    for (number, (follower, upstream)) in (1..).zip(&places) {
        let follower = Name::from(*follower);
        assert_eq!(
            tracking_of(&store, &follower, *upstream).await,
            Position::ZERO,
            "{follower} is unknown"
        );
        let step = step_from(0, *upstream).by(follower).to(number);
        store
            .append(append().with_tracking(step))
            .await
            .expect("the follower starts at 0");
    }
    let fresh = fixture.open().await;
    for (number, (follower, upstream)) in (1..).zip(&places) {
        let position = tracking_of(&fresh, &Name::from(*follower), *upstream).await;
        assert_eq!(
            position,
            Position::new(number),
            "{follower:?} in the log {upstream}"
        );
    }
}

/// P22: Followers name the log they follow: all stores of one place have the same log id, and different places have different ids.
pub async fn log_id_is_the_same_for_every_store_of_one_place<F: Fixture>(fixture: &F) {
    let log_id = fixture.open().await.log_id();
    assert_eq!(log_id, fixture.open().await.log_id());
    let elsewhere = F::new().await;
    assert_ne!(log_id, elsewhere.open().await.log_id());
}

/// P40: Every follower that has made a step is listed, with its log, position and revision: in the order of the bytes of the
/// names, then of the ids of the logs, at most `limit` after a given one.
pub async fn followers_that_have_made_a_step_are_listed_in_order<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    assert_eq!(
        store
            .followers(FollowersQuery::all())
            .await
            .expect("a list"),
        [],
        "there is none yet"
    );
    let here = store.log_id();
    let elsewhere = LogId::new();
    let mut expected = Vec::new();
    for (number, follower) in (1..).zip([
        "Z",
        "a",
        "a:1/2",
        "a@1",
        "b",
        "\u{e9}",
        "\u{ffee}",
        "\u{1f43b}",
    ]) {
        let mut upstreams = [here, elsewhere];
        upstreams.sort_unstable_by_key(|upstream| upstream.as_uuid());
        for upstream in upstreams {
            for (from, to) in [(0, number), (number, number)] {
                let step = step_from(from, upstream).by(follower).to(to);
                store
                    .append(append().with_tracking(step))
                    .await
                    .expect("the follower is there");
            }
            expected.push(FollowerPosition {
                follower: follower.into(),
                upstream,
                position: Position::new(number),
                revision: Revision::new(2),
            });
        }
    }
    let refused = store
        .append(append().with_tracking(step_from(7, here).by("refused").to(8)))
        .await;
    assert_tracking_conflict(refused, &Name::from("refused"), 0);
    let partition = step_from(0, here)
        .by("~whole:1/2")
        .to(3)
        .with_cut(Cut::new("~whole", 2));
    store
        .append(append().with_tracking(partition))
        .await
        .expect("its first step");
    let place = expected
        .iter()
        .position(|listed| listed.follower.as_str() > "~")
        .expect("a name beyond ASCII");
    let partition = FollowerPosition {
        follower: "~whole:1/2".into(),
        upstream: here,
        position: Position::new(3),
        revision: Revision::new(1),
    };
    expected.insert(place, partition);

    let fresh = fixture.open().await;
    let all = fresh
        .followers(FollowersQuery::all())
        .await
        .expect("a list");
    assert_eq!(all, expected, "all, and no other");
    for limit in [1, 3, expected.len()] {
        let mut listed = Vec::new();
        let mut query = FollowersQuery::all().limit(limit);
        while let page = fresh.followers(query.clone()).await.expect("a list")
            && let Some(last) = page.last()
        {
            assert!(page.len() <= limit, "{} of at most {limit}", page.len());
            query = query.after(last.follower.clone(), last.upstream);
            listed.extend(page);
            assert!(
                listed.len() <= expected.len(),
                "some are listed again, {limit} at a time"
            );
        }
        assert_eq!(listed, expected, "{limit} at a time");
    }
}
