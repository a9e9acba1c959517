-- A row without a step keeps a cut for the partitions of the follower. Files of schema 2 have not counted steps.
SELECT follower, upstream, position, revision FROM eventsourcing_tracking
WHERE (follower, upstream) > (?1, ?2) AND (revision > 0 OR position > 0)
ORDER BY follower, upstream LIMIT ?3
