-- The highest visible position, decided or not.
SELECT coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)
