SELECT version, name, schema_version, codec, payload
FROM eventsourcing_events
WHERE stream_id = ?1 AND category = ?2 AND version BETWEEN ?3 AND ?4
ORDER BY version LIMIT ?5
