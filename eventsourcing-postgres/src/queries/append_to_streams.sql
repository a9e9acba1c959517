-- Appends that need no judgement of append(): each adds events to one stream at the version that its caller knows. If a
-- stream is elsewhere nothing is written, no position is drawn, and no row comes back; append() says what is wrong. If
-- others write meanwhile, the unique index refuses what is not new. The trigger has taken the appender lock before the
-- first position is drawn. Positions come back in the order of the arrays.
--
-- Arrays are taken apart in the list of columns: as tables they would be stored once more each. A head is looked for
-- from where it should be: otherwise the index hands over all that it has of the stream on one page.
INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
SELECT unnest($4::uuid[]), unnest($5::text[]), unnest($6::bigint[]), unnest($7::text[]), unnest($8::integer[]),
       unnest($9::smallint[]), unnest($10::timestamptz[]), unnest($11::bytea[]), unnest($12::bytea[])
WHERE NOT EXISTS (
    SELECT FROM (SELECT unnest($1::uuid[]) AS stream_id, unnest($2::text[]) AS category, unnest($3::bigint[]) AS before)
                AS part
    WHERE before <> coalesce((SELECT last.version FROM events AS last
                              WHERE last.stream_id = part.stream_id AND last.category = part.category
                                AND last.version >= before
                              ORDER BY last.version DESC LIMIT 1), 0)
)
RETURNING position
