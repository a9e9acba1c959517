SELECT version FROM eventsourcing_events
WHERE stream_id = ?1 AND category = ?2
ORDER BY version DESC LIMIT 1
