-- The highest position that can be seen, decided or not.
SELECT coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)
