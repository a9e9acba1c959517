DELETE FROM eventsourcing_notes WHERE follower = ?1 AND upstream = ?2 AND key = ?3
