SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM events
WHERE stream_id = $1 AND category = $2 AND version BETWEEN $3 AND $4
ORDER BY version DESC LIMIT $5
