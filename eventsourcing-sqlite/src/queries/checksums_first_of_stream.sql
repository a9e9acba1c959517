SELECT position, stream_id, category, version
FROM eventsourcing_events INDEXED BY eventsourcing_events_first
WHERE version = 1 AND position > ?1 AND position <= ?2
  AND (?3 OR category IN (SELECT value FROM rarray(?4)))
  AND (?5 OR name IN (SELECT value FROM rarray(?6)))
