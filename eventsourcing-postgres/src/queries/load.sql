-- The columns of a stream's events that folding needs.
SELECT version, name, schema_version, codec, payload
FROM events
WHERE stream_id = $1 AND category = $2 AND version > $3 AND version <= $4
ORDER BY version LIMIT $5
