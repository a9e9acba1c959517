INSERT INTO eventsourcing_snapshots (stream_id, category, fingerprint, version, codec, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (stream_id, category, fingerprint, version)
DO UPDATE SET codec = excluded.codec, payload = excluded.payload
