INSERT INTO eventsourcing_tracking (follower, upstream, position, revision, partitions) VALUES (?1, ?2, 0, 0, ?3)
ON CONFLICT (follower, upstream) DO UPDATE SET partitions = excluded.partitions
