-- The last position that was assigned, and the end of the log. The first is never behind, unless rows were copied in a
-- way that leaves sequences alone.
SELECT coalesce(pg_sequence_last_value('events_position'::regclass), 0),
       coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)
