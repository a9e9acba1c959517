SELECT version, codec, payload FROM eventsourcing_snapshots
WHERE stream_id = ?1 AND category = ?2 AND fingerprint = ?3 AND version BETWEEN ?4 AND ?5
ORDER BY version DESC LIMIT 1
