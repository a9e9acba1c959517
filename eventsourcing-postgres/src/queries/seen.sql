-- The visible log after a position: its end before the first hole, among a limited number of events, and its end at
-- all.
SELECT coalesce((SELECT max(position)
                 FROM (SELECT position, row_number() OVER (ORDER BY position) AS place
                       FROM (SELECT position FROM events WHERE position > $1 ORDER BY position LIMIT $2) AS next)
                      AS numbered
                 WHERE position = $1 + place), $1) AS run_end,
       coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0) AS highest
