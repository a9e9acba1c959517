-- Commits a message that has no reader, and so returns when everything that can be seen is as safe as an append of this session would be:
-- on the disk, and on the synchronous standbys. The log of the server has one order, so they have what stands before it.
SELECT pg_logical_emit_message(true, 'eventsourcing', ''::text)
