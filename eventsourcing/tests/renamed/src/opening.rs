//! Stores by their URL, with the backend and without.

use es::store::{OpenError, open, open_existing};

/// Returns the error for `url`, which is the same for both ways of opening.
async fn refusal(url: &str) -> OpenError {
    let error = open(url).await.expect_err("nothing can be opened");
    let existing = open_existing(url).await.expect_err("nothing can be opened");
    assert_eq!(error.to_string(), existing.to_string());
    error
}

#[cfg(any(not(feature = "sqlite"), not(feature = "postgres")))]
async fn assert_asks_for_feature(scheme_and_feature: &str, url: &str) {
    let error = refusal(url).await;
    let named =
        matches!(error, OpenError::FeatureMissing { feature, .. } if feature == scheme_and_feature);
    let text = error.to_string();
    assert!(
        named
            && text.contains(&format!(
                "the feature {scheme_and_feature:?} of eventsourcing-kit"
            )),
        "{text}"
    );
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[cfg(not(feature = "sqlite"))]
#[tokio::test]
async fn a_file_asks_for_the_feature_that_opens_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bank.db");
    assert_asks_for_feature("sqlite", &format!("sqlite:{}", file.display())).await;
    assert!(!file.exists(), "a file was created");
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn a_server_asks_for_the_feature_that_connects() {
    for scheme in ["postgres", "postgresql"] {
        assert_asks_for_feature(
            "postgres",
            &format!("{scheme}://bank:s3cr3t@localhost/bank"),
        )
        .await;
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/bank.db", folder.path().display());
    let created = open(&url).await.expect("a new store").store().log_id();
    assert_eq!(
        open_existing(&url)
            .await
            .expect("the same store")
            .store()
            .log_id(),
        created
    );
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_server_is_connected_to() {
    // Nothing listens on this port, which shows that a connection was tried.
    match refusal("postgres://bank:s3cr3t@127.0.0.1:1/bank").await {
        OpenError::Store(error @ es::store::StoreError::Unavailable { .. }) => {
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
        other => panic!("not refused as a server that does not answer: {other}"),
    }
}

#[tokio::test]
async fn a_store_in_memory_is_opened_with_any_features() {
    assert!(
        open("memory:")
            .await
            .expect("a store")
            .store()
            .head()
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_is_refused_with_any_features() {
    for url in ["postgres:bank", "sqlite:", "bank.db"] {
        assert!(matches!(refusal(url).await, OpenError::Address(_)), "{url}");
    }
}
