INSERT INTO eventsourcing_events
    (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
