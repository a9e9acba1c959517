SELECT position, revision, seen_position, seen_identity, partitions
FROM eventsourcing_tracking WHERE follower = ?1 AND upstream = ?2
