-- An empty list selects all. The log is scanned in its own order: a follower passes each event once.
SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM eventsourcing_events
WHERE position > ?1
  AND (?3 OR category IN (SELECT value FROM rarray(?4)))
  AND (?5 OR name IN (SELECT value FROM rarray(?6)))
ORDER BY position LIMIT ?2
