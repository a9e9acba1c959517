INSERT INTO eventsourcing_tracking (follower, upstream, position, revision, seen_position, seen_identity)
VALUES (?1, ?2, ?3, 1, ?4, ?5)
ON CONFLICT (follower, upstream) DO UPDATE
SET position = excluded.position, revision = revision + 1,
    seen_position = coalesce(excluded.seen_position, seen_position),
    seen_identity = coalesce(excluded.seen_identity, seen_identity)
