//! P23: a lease has one holder at a time, by the store's clock, and a holder whose lease has expired writes nothing.

use std::time::Duration;

use eventsourcing_core::store::{
    EventStore, FollowerStore, HolderId, Lease, LeaseHolder, LeaseRequest, LeaseToken, LogId, Name,
    Position, StoreError,
};
use tokio::time::sleep;

use super::FollowerFixture;
use super::assertions::{Picture, assert_invalid, stream_of};
use super::builders::{FOLLOWER, append, append_to, step_from, stream};
use super::concurrency::{Start, open_many, race};

/// A duration longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// A duration long enough for two requests, and short enough to wait for its end.
const SHORT: Duration = Duration::from_millis(300);

fn request(holder: HolderId, upstream: LogId, duration: Duration) -> LeaseRequest {
    LeaseRequest {
        follower: FOLLOWER,
        upstream,
        holder,
        duration,
    }
}

async fn held(store: &impl FollowerStore, holder: HolderId, duration: Duration) -> LeaseToken {
    match store
        .lease(request(holder, store.log_id(), duration))
        .await
        .expect("leases can be asked for")
    {
        Lease::Held { token, .. } => token,
        Lease::Taken { holder, expires_in } => {
            panic!("the lease is free, but {holder} has it for {expires_in:?}")
        }
    }
}

async fn assert_taken(store: &impl FollowerStore, asks: HolderId, holds: HolderId) {
    match store
        .lease(request(asks, store.log_id(), LONG))
        .await
        .expect("leases can be asked for")
    {
        Lease::Taken { holder, expires_in } => {
            assert_eq!(holder, holds, "the one who holds the lease");
            assert!(expires_in <= LONG, "it lasts {expires_in:?}");
        }
        Lease::Held { .. } => panic!("two hold one lease"),
    }
}

/// P23: A lease is held by one holder at a time, which may renew it and keeps its token.
pub async fn lease_is_held_by_one_holder_at_a_time<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    let ours = HolderId::new();
    let theirs = HolderId::new();

    let token = held(&store, ours, LONG).await;
    assert_taken(&other, theirs, ours).await;
    assert_eq!(
        held(&other, ours, LONG).await,
        token,
        "renewed by its holder"
    );
    assert_taken(&store, theirs, ours).await;
}

/// P23: Exactly one of any number of concurrent requests gets the lease.
pub async fn of_many_who_ask_at_once_one_gets_the_lease<F: FollowerFixture>(fixture: &F) {
    let stores = open_many(fixture, 3).await;
    for round in 0..10 {
        let follower = Name::from(format!("follower-{round}"));
        let askers = (0..6).map(|asker| {
            let store = stores[asker % stores.len()].clone();
            let follower = follower.clone();

            let request = LeaseRequest {
                follower,
                ..request(HolderId::new(), store.log_id(), LONG)
            };
            async move { store.lease(request).await.expect("leases can be asked for") }
        });
        let answers = race::<F, _>(Start::Together, askers).await;
        let holders = answers
            .iter()
            .filter(|answer| matches!(answer, Lease::Held { .. }))
            .count();
        assert_eq!(holders, 1, "{answers:?}");
    }
}

/// P23: A lease expires by the store's clock; the next holder gets a larger token and the position of the follower.
pub async fn expired_lease_is_taken_over_with_a_larger_token<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    let ours = HolderId::new();
    let theirs = HolderId::new();

    let first = held(&store, ours, SHORT).await;
    let mut step = step_from(0, store.log_id()).to(7);
    step.lease = Some(first);
    store
        .append(append().with_tracking(step))
        .await
        .expect("the lease is held");
    sleep(SHORT + SHORT / 3).await;
    let answer = other
        .lease(request(theirs, store.log_id(), LONG))
        .await
        .expect("leases can be asked for");
    let Lease::Held { token, position } = answer else {
        panic!("it has expired, but {answer:?}")
    };
    assert!(token > first, "{token} after {first}");
    assert_eq!(position, Position::new(7));
    assert_taken(&store, ours, theirs).await;
}

/// P23: Renewing a lease makes it last longer.
pub async fn renewed_lease_lasts<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let ours = HolderId::new();
    let theirs = HolderId::new();

    held(&store, ours, SHORT).await;
    held(&store, ours, LONG).await;
    sleep(SHORT + SHORT / 3).await;
    assert_taken(&store, theirs, ours).await;
}

/// P23: An append with an outdated token is refused and writes nothing; one without a token is accepted.
pub async fn append_with_an_outdated_token_is_refused<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let step = |from: u64, lease| {
        let mut step = step_from(from, store.log_id()).to(from + 1);
        step.lease = lease;
        append_to(&stream, "work").with_tracking(step)
    };
    let unheld = store.append(step(0, Some(LeaseToken::new(1)))).await;
    assert!(
        matches!(unheld, Err(StoreError::LeaseLost { .. })),
        "there is no lease, but {unheld:?}"
    );

    let outdated = held(&store, HolderId::new(), SHORT).await;
    store
        .append(step(0, Some(outdated)))
        .await
        .expect("the lease is held");
    sleep(SHORT + SHORT / 3).await;
    store
        .append(step(1, Some(outdated)))
        .await
        .expect("the lease has expired, but has no other holder");
    let newest = held(&store, HolderId::new(), LONG).await;
    let before = Picture::with_follower(&store, &[&stream]).await;
    match store.append(step(2, Some(outdated))).await {
        Err(StoreError::LeaseLost {
            follower,
            token,
            current,
        }) => {
            assert_eq!((follower, token, current), (FOLLOWER, outdated, newest));
        }
        other => panic!("the token is outdated, but {other:?}"),
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
    store
        .append(step(2, Some(newest)))
        .await
        .expect("the newest token");
    store.append(step(3, None)).await.expect("no token");
    assert_eq!(stream_of(&store, &stream).await.len(), 4);
}

/// P23: A released lease is free at once; a release with an outdated token changes nothing.
pub async fn released_lease_is_free_at_once<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    let ours = HolderId::new();
    let theirs = HolderId::new();

    let first = held(&store, ours, LONG).await;
    store
        .release(&FOLLOWER, store.log_id(), first)
        .await
        .expect("leases can be released");
    let second = held(&other, theirs, LONG).await;
    assert!(second > first, "{second} after {first}");
    store
        .release(&FOLLOWER, store.log_id(), first)
        .await
        .expect("leases can be released");
    assert_taken(&store, ours, theirs).await;
}

/// P23: The holder and the remaining time of a lease can be read; there is no holder after its expiry or release.
pub async fn holder_of_a_lease_is_known_until_it_ends<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    let seen = async |follower: &Name, upstream| {
        let holder = other
            .lease_holder(follower, upstream)
            .await
            .expect("holders can be seen");
        holder.map(
            |LeaseHolder {
                 holder,
                 token,
                 expires_in,
             }| {
                assert!(
                    !expires_in.is_zero() && expires_in <= LONG,
                    "it lasts {expires_in:?}"
                );
                (holder, token)
            },
        )
    };
    let ours = HolderId::new();
    let theirs = HolderId::new();

    assert_eq!(
        seen(&FOLLOWER, store.log_id()).await,
        None,
        "there was no request for the lease"
    );
    let first = held(&store, ours, SHORT).await;
    assert_eq!(
        held(&store, ours, LONG).await,
        first,
        "renewed by its holder"
    );
    assert_taken(&store, theirs, ours).await;
    assert_eq!(
        seen(&FOLLOWER, store.log_id()).await,
        Some((ours, first)),
        "a request in vain changes nothing"
    );
    assert_eq!(seen(&FOLLOWER, LogId::new()).await, None, "another log");
    assert_eq!(
        seen(&"Statements".into(), store.log_id()).await,
        None,
        "another follower"
    );
    store
        .release(&FOLLOWER, store.log_id(), first)
        .await
        .expect("leases can be released");
    assert_eq!(
        seen(&FOLLOWER, store.log_id()).await,
        None,
        "it was given back"
    );

    let second = held(&store, theirs, SHORT).await;
    assert!(second > first, "{second} after {first}");
    sleep(SHORT + SHORT / 3).await;
    assert_eq!(
        seen(&FOLLOWER, store.log_id()).await,
        None,
        "it has expired"
    );
    let third = held(&store, ours, LONG).await;
    assert_eq!(seen(&FOLLOWER, store.log_id()).await, Some((ours, third)));
}

/// P23: Leases on different followers and logs are independent; names and durations beyond the limits are `Invalid`.
pub async fn leases_are_independent<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    held(&store, HolderId::new(), LONG).await;
    let elsewhere = store
        .lease(request(HolderId::new(), LogId::new(), LONG))
        .await;
    assert!(
        matches!(elsewhere, Ok(Lease::Held { .. })),
        "another log, but {elsewhere:?}"
    );
    let other = LeaseRequest {
        follower: "FOLLOWER".into(),
        ..request(HolderId::new(), store.log_id(), LONG)
    };
    let other = store.lease(other).await;
    assert!(
        matches!(other, Ok(Lease::Held { .. })),
        "another follower, but {other:?}"
    );
    let nameless = LeaseRequest {
        follower: "".into(),
        ..request(HolderId::new(), store.log_id(), LONG)
    };
    assert_invalid(store.lease(nameless).await, "no name");
    for duration in [
        Duration::ZERO,
        LeaseRequest::DURATION_MAX + Duration::from_secs(1),
    ] {
        assert_invalid(
            store
                .lease(request(HolderId::new(), store.log_id(), duration))
                .await,
            "no such duration",
        );
    }
}
