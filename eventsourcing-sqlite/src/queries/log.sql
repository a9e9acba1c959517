SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM eventsourcing_events
WHERE position > ?1
ORDER BY position LIMIT ?2
