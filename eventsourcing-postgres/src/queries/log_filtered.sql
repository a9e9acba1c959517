-- An empty list selects all. The log is scanned in its own order: a follower passes each event once.
SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM events
WHERE position > $1 AND position <= $2
  AND (cardinality($4::text[]) = 0 OR category = ANY ($4))
  AND (cardinality($5::text[]) = 0 OR name = ANY ($5))
ORDER BY position LIMIT $3
