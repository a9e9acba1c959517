-- A row without a step only keeps the number of the follower's partitions, or was inserted to be locked.
SELECT follower, upstream, position, revision
FROM tracking
WHERE (follower, upstream) > ($1, $2) AND revision > 0
ORDER BY follower, upstream LIMIT $3
