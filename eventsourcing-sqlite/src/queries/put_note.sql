INSERT INTO eventsourcing_notes (follower, upstream, key, value) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (follower, upstream, key) DO UPDATE SET value = excluded.value
