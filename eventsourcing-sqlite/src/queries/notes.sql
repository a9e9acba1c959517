-- The reader stops at the first key that does not begin with the prefix.
SELECT key, value FROM eventsourcing_notes
WHERE follower = ?1 AND upstream = ?2 AND key >= ?3
ORDER BY key
