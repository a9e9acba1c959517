-- What can be seen after a position: how far without a hole, looking at some events at most, and how far at all.
SELECT coalesce((SELECT max(position)
                 FROM (SELECT position, row_number() OVER (ORDER BY position) AS place
                       FROM (SELECT position FROM events WHERE position > $1 ORDER BY position LIMIT $2) AS next)
                      AS numbered
                 WHERE position = $1 + place), $1) AS run_end,
       coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0) AS highest
