SELECT version, codec, payload FROM eventsourcing_snapshots
WHERE stream_id = ?1 AND category = ?2 AND fingerprint = ?3 AND version <= ?4
ORDER BY version DESC LIMIT 1
