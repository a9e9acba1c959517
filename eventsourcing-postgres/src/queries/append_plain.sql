-- Appends that need no judgement of append(): each adds events to one stream at the version that its caller knows. The unique
-- index refuses what is not new; and an event that does not follow on another has no version, which is refused as well.
-- `before` is the version that must be there already, or 0. The trigger has taken the appender lock before the first
-- position is drawn. Positions come back in the order of the arrays.
INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
SELECT stream_id, category,
       CASE before WHEN 0 THEN version
       ELSE (SELECT last.version + 1 FROM events AS last
             WHERE last.stream_id = event.stream_id AND last.category = event.category AND last.version = before)
       END,
       name, schema_version, codec, recorded_at, metadata, payload
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::integer[], $7::smallint[],
            $8::timestamptz[], $9::bytea[], $10::bytea[])
     AS event (stream_id, category, version, before, name, schema_version, codec, recorded_at, metadata, payload)
RETURNING position
