-- Appends that need no judgement of append(): each adds events to one stream at the version that its caller knows. If a stream
-- is elsewhere nothing is written, no position is drawn, and no row comes back; append() says what is wrong. If others write
-- meanwhile, the unique index refuses what is not new. The trigger has taken the appender lock before the first position is
-- drawn. Positions come back in the order of the arrays.
WITH stream AS MATERIALIZED (
    SELECT bool_and(before = coalesce((SELECT last.version FROM events AS last
                                       WHERE last.stream_id = part.stream_id AND last.category = part.category
                                       ORDER BY last.version DESC LIMIT 1), 0)) AS is_as_expected
    FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS part (stream_id, category, before)
)
INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
SELECT stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
FROM unnest($4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::integer[], $9::smallint[],
            $10::timestamptz[], $11::bytea[], $12::bytea[])
     AS event (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
WHERE (SELECT is_as_expected FROM stream)
RETURNING position
