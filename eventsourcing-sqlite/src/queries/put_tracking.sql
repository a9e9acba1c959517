INSERT INTO eventsourcing_tracking (follower, upstream, position, revision) VALUES (?1, ?2, ?3, 1)
ON CONFLICT (follower, upstream) DO UPDATE SET position = excluded.position, revision = revision + 1
