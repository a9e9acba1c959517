-- The position of a follower, on every row, and the notes whose keys begin with $3 and come after $4. No key is longer
-- than 512 bytes, so every key that begins with $3 sorts before $3 followed by 129 times the last character, which has
-- 4 bytes.
SELECT position, revision, seen_position, seen_identity, partitions, key, value
FROM tracking
LEFT JOIN LATERAL (
    SELECT key, value
    FROM notes
    WHERE follower = $1 AND upstream = $2 AND key > $4
      AND key >= $3 AND key <= $3 || repeat(chr(1114111), 129)
    ORDER BY key LIMIT $5
) AS note ON true
WHERE follower = $1 AND upstream = $2
