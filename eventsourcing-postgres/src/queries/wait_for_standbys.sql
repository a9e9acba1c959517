-- Commits a message that has no reader, and so returns when everything that can be seen is as safe as an append of this session would be.
-- The log of the server has one order, so the synchronous standbys then have what stands before the message.
SELECT pg_logical_emit_message(true, 'eventsourcing', ''::text)
