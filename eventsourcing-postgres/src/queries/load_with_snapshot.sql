-- The newest usable snapshot, and exactly the events after it, of one moment. The snapshot has no name.
WITH snapshot AS MATERIALIZED (
    SELECT version, codec, payload
    FROM snapshots
    WHERE stream_id = $1 AND category = $2 AND fingerprint = $6 AND version > $3 AND version <= $4
    ORDER BY version DESC LIMIT 1
)
SELECT version, '' AS name, 0 AS schema_version, codec, payload
FROM snapshot
UNION ALL (
    SELECT version, name, schema_version, codec, payload
    FROM events
    WHERE stream_id = $1 AND category = $2 AND version <= $4
      AND version > coalesce((SELECT snapshot.version FROM snapshot), $3)
    ORDER BY version LIMIT $5
)
