SELECT holder, token, until - CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM eventsourcing_leases WHERE follower = ?1 AND upstream = ?2
