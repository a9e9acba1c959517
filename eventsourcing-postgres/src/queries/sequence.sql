-- Up to where positions have been given out, and where the log ends. The first is never behind, unless rows were brought in by
-- something that leaves sequences alone.
SELECT coalesce(pg_sequence_last_value('events_position'::regclass), 0),
       coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)
