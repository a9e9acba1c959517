SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM events
WHERE position > $1 AND position <= $2
ORDER BY position LIMIT $3
