-- A row without a step keeps a cut for the partitions of the follower, or was made to be locked.
SELECT follower, upstream, position, revision
FROM tracking
WHERE (follower, upstream) > ($1, $2) AND revision > 0
ORDER BY follower, upstream LIMIT $3
