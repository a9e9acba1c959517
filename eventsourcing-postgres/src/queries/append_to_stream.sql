-- The same as append_to_streams.sql for a single append: values that its events share are sent and checked once.
INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload)
SELECT $1::uuid, $2::text, unnest($4::bigint[]), unnest($5::text[]), unnest($6::integer[]),
       unnest($7::smallint[]), $8::timestamptz, unnest($9::bytea[]), unnest($10::bytea[])
WHERE $3::bigint = coalesce((SELECT last.version FROM events AS last
                             WHERE last.stream_id = $1::uuid AND last.category = $2::text AND last.version >= $3::bigint
                             ORDER BY last.version DESC LIMIT 1), 0)
RETURNING position
