INSERT INTO eventsourcing_snapshots (stream_id, category, version, fingerprint, codec, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (stream_id, category, version)
DO UPDATE SET fingerprint = excluded.fingerprint, codec = excluded.codec, payload = excluded.payload
