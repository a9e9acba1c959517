-- For each slice of the log, the number of events and the exclusive or of their digests, as two halves. An empty list
-- selects all. The log is scanned in its own order, as in log_filtered.sql.
SELECT slice, count, (digest::bit(64))::bigint AS high, (digest << 64)::bit(64)::bigint AS low
FROM (
    SELECT (position - 1) / 10000 AS slice, count(*) AS count,
           bit_xor(('x' || encode(substr(sha256(uuid_send(stream_id) || int8send(version)
                                                || convert_to(category, 'UTF8')), 1, 16), 'hex'))::bit(128)) AS digest
    FROM events
    WHERE position > $1 AND position <= $2
      AND (cardinality($3::text[]) = 0 OR category = ANY ($3))
      AND (cardinality($4::text[]) = 0 OR name = ANY ($4))
      AND (version = 1 OR NOT $5)
    GROUP BY slice
) AS counted
