INSERT INTO eventsourcing_leases (follower, upstream, holder, token, until)
VALUES (?1, ?2, ?3, ?4, CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?5)
ON CONFLICT (follower, upstream) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until
