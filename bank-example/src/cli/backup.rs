//! Copies a bank in an SQLite file while it is in use.

use std::path::Path;

use bank_example::stores;
use eventsourcing::sqlite::BackupProgress;
use eventsourcing::store::StoreError;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::progress;
use super::stop::Stop;

const NOTHING_COPIED: &str = "nothing was copied";

pub(super) async fn run(url: &str, file: &Path, stop: &Stop) -> Result<Output, Failure> {
    let Some(store) = stop.or(stores::open_sqlite(url), NOTHING_COPIED).await?? else {
        let advice = "backup copies a bank in an SQLite file; docs/backups.md says how to copy one on PostgreSQL";
        return Err(Failure::Usage(advice.to_owned()));
    };
    let bar = progress::bar("copying");
    let drawn = bar.clone();
    let draw = move |BackupProgress { pages, of }| {
        drawn.set_length(of);
        drawn.set_position(pages);
    };
    let copied = stop.or(store.backup_with(file, draw), NOTHING_COPIED).await;
    bar.finish_and_clear();
    store.close().await;
    let copied = copied?.map_err(|error| match error {
        StoreError::Invalid { reason } => Failure::Usage(reason),
        error => error.into(),
    })?;
    let file = file.display().to_string();
    let text = format!(
        "copied {} bytes, up to position {}, to {file}",
        copied.bytes, copied.head
    );
    Ok(Output::new(
        text,
        json!({ "file": file, "bytes": copied.bytes, "head": copied.head }),
    ))
}
