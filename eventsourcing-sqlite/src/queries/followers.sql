-- A row without a step only keeps the number of the follower's partitions. Files of schema 2 did not count steps.
SELECT follower, upstream, position, revision FROM eventsourcing_tracking
WHERE (follower, upstream) > (?1, ?2) AND (revision > 0 OR position > 0)
ORDER BY follower, upstream LIMIT ?3
