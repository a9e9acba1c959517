UPDATE eventsourcing_leases SET until = 0 WHERE follower = ?1 AND upstream = ?2 AND token = ?3
