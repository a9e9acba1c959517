SELECT position, revision FROM eventsourcing_tracking WHERE follower = ?1 AND upstream = ?2
