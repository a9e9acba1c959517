INSERT INTO eventsourcing_tracking (follower, upstream, position) VALUES (?1, ?2, ?3)
ON CONFLICT (follower, upstream) DO UPDATE SET position = excluded.position
