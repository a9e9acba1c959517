-- An empty list selects all. These columns come first in the row, so no payload is read.
SELECT position, stream_id, category, version
FROM eventsourcing_events
WHERE position > ?1 AND position <= ?2
  AND (?3 OR category IN (SELECT value FROM rarray(?4)))
  AND (?5 OR name IN (SELECT value FROM rarray(?6)))
