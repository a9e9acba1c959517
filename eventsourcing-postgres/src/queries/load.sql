-- The newest usable snapshot, and exactly the events after it, of one moment. The snapshot has position 0.
WITH snapshot AS MATERIALIZED (
    SELECT version, codec, payload
    FROM snapshots
    WHERE stream_id = $1 AND category = $2 AND fingerprint = $4 AND version <= $3
    ORDER BY version DESC LIMIT 1
)
SELECT 0::bigint AS position, $1 AS stream_id, $2 AS category, version, '' AS name, 0 AS schema_version, codec,
       'epoch'::timestamptz AS recorded_at, ''::bytea AS metadata, payload
FROM snapshot
UNION ALL (
    SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
    FROM events
    WHERE stream_id = $1 AND category = $2 AND version <= $3
      AND version > coalesce((SELECT snapshot.version FROM snapshot), 0)
    ORDER BY version
)
