-- Commits a message without a reader, and therefore returns when everything visible is as safe as an append of this
-- session. The log of the server has one order, so the synchronous standbys then have everything before the message.
SELECT pg_logical_emit_message(true, 'eventsourcing', ''::text)
