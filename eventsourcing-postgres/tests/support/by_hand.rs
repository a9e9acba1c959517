//! The store's own append, called by hand in a transaction that stays open as long as the test needs.

use eventsourcing_core::store::Position;
use tokio_postgres::Client;
use uuid::Uuid;

/// An append of one event, as the store calls it: `$1` is the stream's id, `$2` its category, `$3` the payload.
const APPEND: &str = "
    SELECT numbers[1] FROM append(
        alone => false, waits => '{false}', command_appends => '{}', command_ids => '{}',
        step_appends => '{}', step_followers => '{}', step_upstreams => '{}', step_starts => '{}', step_ends => '{}',
        step_leases => '{}', step_revisions => '{}', note_appends => '{}', note_followers => '{}',
        note_upstreams => '{}', note_keys => '{}', note_values => '{}',
        part_appends => '{1}', part_stream_ids => ARRAY[$1::text::uuid], part_categories => ARRAY[$2::text],
        part_expected => '{-1}', part_events => '{1}', part_before => '{0}',
        event_parts => '{1}', event_numbers => '{1}', event_stream_ids => ARRAY[$1::text::uuid],
        event_categories => ARRAY[$2::text], event_names => '{deposited}', event_schema_versions => '{1}',
        event_codecs => '{0}', event_recorded_at => '{epoch}', event_metadata => ARRAY[''::bytea],
        event_payloads => ARRAY[convert_to($3::text, 'UTF8')],
        snapshot_appends => '{}', snapshot_places => '{}', snapshot_stream_ids => '{}', snapshot_categories => '{}',
        snapshot_fingerprints => '{}', snapshot_versions => '{}', snapshot_codecs => '{}', snapshot_payloads => '{}',
        snapshot_added => '{}')";

/// Begins a transaction and appends in it; the position has been drawn, but the event is not visible yet.
pub(crate) async fn begin_append(client: &Client, category: &str, payload: &str) -> Position {
    client.batch_execute("BEGIN").await.expect("a transaction");
    let stream = Uuid::new_v4().to_string();
    let row = client
        .query_one(APPEND, &[&stream, &category, &payload])
        .await
        .expect("an append");
    Position::new(u64::try_from(row.get::<_, i64>(0)).expect("a position"))
}

pub(crate) async fn commit(client: &Client) {
    client
        .batch_execute("COMMIT")
        .await
        .expect("the transaction is committed");
}

pub(crate) async fn roll_back(client: &Client) {
    client
        .batch_execute("ROLLBACK")
        .await
        .expect("the transaction is rolled back");
}
