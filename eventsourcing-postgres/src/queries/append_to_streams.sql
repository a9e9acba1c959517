-- Appends that append() need not check: each adds events to one stream at the version that its caller knows. If a
-- stream is at another version nothing is written, no position is drawn, and no row is returned; append() then finds
-- the reason. If another transaction writes to the stream meanwhile, the unique index refuses the second write. The
-- trigger has taken the appender lock before the first position is drawn. Positions are returned in the order of the
-- arrays.
--
-- Arrays are unnested in the list of columns: as tables they would be materialised once more each. The search for a
-- stream's head begins at the expected version: otherwise the index returns every entry of the stream on that page.
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
