//! A bank over three releases: an event gets a field, one is renamed, one is split and one retired. Each release reads
//! the events of all earlier ones, on every store.
//!
//! The code of the releases is in `releases`, together with databases that the first two have written, which cannot
//! change with the code; `BANK_RELEASES=overwrite` writes them again.

#[path = "releases/first.rs"]
mod first;
#[path = "releases/second.rs"]
mod second;
#[path = "releases/shared.rs"]
mod shared;
mod support;
#[path = "releases/third.rs"]
mod third;

use std::path::{Path, PathBuf};

use bank_example::domain::Money;
use eventsourcing::Stores;
use eventsourcing::schema::{SchemaLock, SystemSchema};
use shared::Books;
use support::{Place, money};

async fn open(url: &str) -> Stores {
    bank_example::stores::open(url)
        .await
        .expect("the store opens")
}

/// Opens all stores at once, so that all releases share the store in memory.
async fn places() -> Vec<(Stores, Place)> {
    let mut places = Vec::new();
    for place in Place::all() {
        places.push((open(place.url()).await, place));
    }
    places
}

/// Returns the balances of the first three customers after `rounds` of a release that has four kinds of events.
fn expected(books: &Books, rounds: u8) -> Vec<Money> {
    // A round is +a, +a - a/2, nothing, -a; each release writes two rounds to the accounts that exist.
    let mut balances: Vec<_> = books.0.values().copied().collect();
    balances.sort();
    let amounts = ["1.50", "2.50", "3.50"].map(money);
    let mut expected: Vec<_> = amounts
        .map(|amount| amount / Money::TWO * Money::from(2 * rounds))
        .to_vec();
    expected.sort();
    assert_eq!(balances.len(), expected.len());
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_release_reads_what_the_first_has_written() {
    for (stores, place) in places().await {
        first::write(stores.clone()).await;
        let written = first::books(stores.clone()).await;
        let mut balances: Vec<_> = written.0.values().copied().collect();
        balances.sort();
        assert_eq!(balances, expected(&written, 1), "{}", place.url());
        assert_eq!(
            second::books(stores.clone()).await,
            written,
            "{}",
            place.url()
        );
        assert_eq!(third::books(stores).await, written, "{}", place.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_release_reads_what_the_second_has_written() {
    for (stores, place) in places().await {
        second::write(stores.clone()).await;
        let written = second::books(stores.clone()).await;
        assert_eq!(third::books(stores).await, written, "{}", place.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_release_goes_on_where_the_one_before_it_has_stopped() {
    for (stores, place) in places().await {
        first::write(stores.clone()).await;
        second::write(stores.clone()).await;
        let written = second::books(stores.clone()).await;
        assert_eq!(
            third::books(stores.clone()).await,
            written,
            "{}",
            place.url()
        );
        third::write(stores.clone()).await;
        let grown = third::books(stores).await;
        assert_eq!(grown.0.len(), 9, "{}", place.url());
        assert!(
            written.0.iter().all(|(id, balance)| grown.0[id] > *balance),
            "{}",
            place.url()
        );
    }
}

/// Returns the path of a database that was written when the release was the current one.
fn kept(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/releases")
        .join(release)
        .with_extension("db")
}

/// A copy of a database, which the test may write to.
async fn copy(release: &str, folder: &Path) -> Stores {
    let copy = folder.join("bank.db");
    let kept = kept(release);
    std::fs::copy(&kept, &copy)
        .unwrap_or_else(|error| panic!("{}: {error}; BANK_RELEASES=overwrite", kept.display()));
    open(&format!("sqlite:{}", copy.display())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_were_kept_are_read_by_every_later_release() {
    if std::env::var_os("BANK_RELEASES").is_some() {
        let url = |release| format!("sqlite:{}", kept(release).display());
        first::write(open(&url("first")).await).await;
        second::write(open(&url("second")).await).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let first = first::books(copy("first", folder.path()).await).await;
    assert_eq!(
        first.0.values().copied().collect::<Vec<_>>(),
        FIRST.map(money),
        "{first:?}"
    );
    for release in ["first", "second"] {
        let folder = tempfile::tempdir().expect("a folder");
        let stores = copy(release, folder.path()).await;
        let read = second::books(stores.clone()).await;
        assert_eq!(third::books(stores.clone()).await, read, "{release}");
        third::write(stores.clone()).await;
        let grown = third::books(stores).await;
        assert!(
            read.0.iter().all(|(id, balance)| grown.0[id] > *balance),
            "{release}"
        );
    }
}

/// The balances of the first release, in the order of the ids, which is that of time.
const FIRST: [&str; 3] = ["1.50", "2.50", "3.50"];

#[test]
fn the_lock_lets_each_release_follow_on_the_one_before_it_and_no_other_way() {
    let first = SystemSchema::of::<first::Bank>();
    let second = SystemSchema::of::<second::Bank>();
    let third = SystemSchema::of::<third::Bank>();

    let of_first = first
        .update(&SchemaLock::default())
        .expect("nothing was locked");
    let of_second = second
        .update(&of_first)
        .expect("the second release follows on the first");
    let of_third = third
        .update(&of_second)
        .expect("the third release follows on the second");
    assert!(
        third
            .compare(&of_third)
            .expect("samples are there")
            .is_locked()
    );
    let versions: Vec<_> = of_third
        .events()
        .filter(|event| event.event == "Credited")
        .map(|event| event.version)
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    for back in [first.compare(&of_third), second.compare(&of_third)] {
        assert!(!back.expect("samples are there").breakages.is_empty());
    }
    let corrected = of_second
        .samples::<third::Account>()
        .find(|sample| sample.event == "Corrected");
    let corrected = corrected
        .expect("the second release corrects")
        .decode::<third::Account>()
        .expect("it is split");
    assert_eq!(corrected.len(), 2);
}

/// The third release keeps the laws, and reads what each release before it may have stored.
mod laws {
    use eventsourcing::testing::laws;
    use serde_json::json;

    use super::third::Account;

    laws!(
        Account,
        samples = [
            ("Credited", 1, json!({ "amount": "1.50" })),
            ("Credited", 2, json!({ "amount": "1.50", "channel": "web" })),
            ("Credited", 3, json!({ "cents": 150, "channel": "web" })),
            ("Debited", 1, json!({ "amount": "1.50" })),
            (
                "Corrected",
                1,
                json!({ "credited": "1.50", "debited": "0.75" })
            ),
            ("Frozen", 1, json!({ "reason": "a court" })),
        ]
    );
}
