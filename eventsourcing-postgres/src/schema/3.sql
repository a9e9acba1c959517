-- Several commands may share an append, and each gets a receipt of its own.
--
-- Programs of the earlier schemas go on beside newer ones: what they call takes what is new from defaults, and they do not ask for
-- what is returned beside what they know.

DROP FUNCTION append;

-- Carries out a batch of appends, each wholly or not at all, and says of each what became of it.
--
-- Arrays in the plural describe the batch. `_appends` holds the number of the append an entry belongs to, from 1.
-- `waits`: the append must not be carried out together with an earlier one of the batch.
-- `part_expected`: the version, or -1 for any, or -2 for any but 0. `part_before`: the part before this one that
-- concerns the same stream, or 0. Parts stand in the order of their appends. Events stand in the order of their
-- streams, commands in that of their ids: batches of several processes that meet wait for one another in the same
-- order and so never for each other. `event_numbers`: the place of the event in its part, from 1.
-- `snapshot_added`: how many events the append itself adds to the stream of the snapshot.
--
-- Outcomes, with the number and the place that belong to them:
--   0 written, position of the receipt         3 a stream is elsewhere, its version, which part
--   1 a command is repeated, position and      4 snapshot beyond its stream, its version, which snapshot
--     kind of its first receipt
--   2 the follower is elsewhere, its position  5 sound, but it has to wait for the next batch
--                                              6 the lease is lost, the newest token
--                                              7 the follower is cut otherwise, into how many
--
-- `step_leases`: the token of each step, or -1 for none. `step_revisions`: how many steps the follower must have made,
-- or -1 for any number; otherwise the outcome is 2 as well. `note_values`: NULL for a note to be forgotten.
-- `command_kinds`: the kind of receipt that each command leads to, as in `receipts`, or NULL for all if the caller knows of
-- none. `command_parts` and `command_events`: the part and the event in it with which a command ends that shares its append, or
-- 0 for one that has the append to itself, or records nothing. A command without an event gets the position of the last event that can be seen, which was
-- there before the batch, or the last one of its append.
-- `command_positions` and `command_answers`: the position and the kind of the receipt of each command that is or was answered,
-- otherwise NULL.
-- `step_seen_positions` and `step_seen_identities`: the last event the follower has seen, or NULL for the one before.
-- `step_cut_followers` and `step_cut_partitions`: the whole follower and its partitions, or NULL for a step that relies on none.
-- Relies on READ COMMITTED: each statement in here has a snapshot of its own, newer than the locks taken before it.
CREATE FUNCTION append(
    alone boolean,
    waits boolean[],
    command_appends integer[], command_ids uuid[],
    step_appends integer[], step_followers text[], step_upstreams uuid[], step_starts bigint[], step_ends bigint[],
    step_leases bigint[], step_revisions bigint[],
    note_appends integer[], note_followers text[], note_upstreams uuid[], note_keys text[], note_values text[],
    part_appends integer[], part_stream_ids uuid[], part_categories text[], part_expected bigint[],
    part_events integer[], part_before integer[],
    event_parts integer[], event_numbers integer[], event_stream_ids uuid[], event_categories text[],
    event_names text[], event_schema_versions integer[], event_codecs smallint[],
    event_recorded_at timestamptz[], event_metadata bytea[], event_payloads bytea[],
    snapshot_appends integer[], snapshot_places integer[], snapshot_stream_ids uuid[], snapshot_categories text[],
    snapshot_fingerprints bigint[], snapshot_versions bigint[], snapshot_codecs smallint[],
    snapshot_payloads bytea[], snapshot_added integer[],
    step_seen_positions bigint[] DEFAULT '{}', step_seen_identities bytea[] DEFAULT '{}',
    step_cut_followers text[] DEFAULT '{}', step_cut_partitions integer[] DEFAULT '{}',
    command_kinds smallint[] DEFAULT NULL,
    command_parts integer[] DEFAULT NULL, command_events integer[] DEFAULT NULL,
    OUT outcomes integer[], OUT numbers bigint[], OUT places integer[],
    OUT command_positions bigint[], OUT command_answers smallint[]
)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    lock      CONSTANT bigint := appender_lock();
    heads     bigint[];               -- the version of each part's stream before the batch
    bases     bigint[]  := '{}';      -- the version before each part, or -1 if the part is not written
    reached   bigint[]  := '{}';      -- the version after each part
    before    integer[] := '{}';      -- how many events of the batch are written before each part
    written   integer   := 0;
    positions bigint[];
    newest    bigint;                 -- the position of the last event that can be seen
    guards    integer[] := '{}';      -- parts that guard a stream; the batch writes to none of these streams
    first_guard bigint;               -- the position above those of the rows that stand for guards
    verdict   record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append() needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;

    -- Before the appender lock: a step may have to wait for a transaction that calls step(), and until the appender
    -- lock is taken nobody has to wait for this one, neither readers nor those who append alone.
    IF cardinality(step_appends) > 0 THEN
        PERFORM lock_steps(step_followers, step_upstreams, step_leases, step_cut_followers);
    END IF;

    -- Before anything is judged, and above all before a position is drawn.
    IF alone THEN
        PERFORM pg_advisory_xact_lock(lock);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(lock);
    END IF;

    heads := ARRAY(
        SELECT coalesce((SELECT version FROM events
                         WHERE stream_id = part.stream_id AND category = part.category
                         ORDER BY version DESC LIMIT 1), 0)
        FROM unnest(part_stream_ids, part_categories) WITH ORDINALITY AS part (stream_id, category, part)
        ORDER BY part
    );

    -- What most appends are judged by needs no statement. Of several verdicts on one append the lowest counts.
    outcomes := array_fill(0, ARRAY[cardinality(waits)]);
    numbers := outcomes;
    places := outcomes;
    FOR append IN 1 .. cardinality(waits) LOOP
        IF waits[append] THEN
            outcomes[append] := 5;
        END IF;
    END LOOP;
    FOR part IN REVERSE cardinality(part_appends) .. 1 LOOP
        IF NOT (part_expected[part] = heads[part] OR part_expected[part] = -1
                OR part_expected[part] = -2 AND heads[part] > 0) THEN
            outcomes[part_appends[part]] := 3;
            numbers[part_appends[part]] := heads[part];
            places[part_appends[part]] := part;
        END IF;
    END LOOP;
    IF cardinality(command_appends) > 0 THEN
        command_positions := array_fill(NULL::bigint, ARRAY[cardinality(command_appends)]);
        command_answers := array_fill(NULL::smallint, ARRAY[cardinality(command_appends)]);
    ELSE
        command_positions := '{}';
        command_answers := '{}';
    END IF;
    IF cardinality(command_appends) + cardinality(step_appends) + cardinality(snapshot_appends) > 0 THEN
        FOR verdict IN
            SELECT append, 1 AS outcome,
                   CASE WHEN command_kinds IS NULL THEN position ELSE coalesce(decided_at, position) END AS number,
                   coalesce(kind, CASE position WHEN 0 THEN 2 ELSE 0 END)::integer AS place, command
            FROM unnest(command_appends, command_ids) WITH ORDINALITY AS command (append, command_id, command)
                 JOIN receipts USING (command_id)
          UNION ALL
            SELECT append, outcome, number, 0, NULL
            FROM refused_steps(step_appends, step_followers, step_upstreams, step_starts, step_leases, step_revisions,
                               step_cut_followers, step_cut_partitions)
          UNION ALL
            SELECT append, 4, head + added, place, NULL
            FROM (
                SELECT snapshot.*,
                       coalesce((SELECT e.version FROM events AS e
                                 WHERE e.stream_id = snapshot.stream_id AND e.category = snapshot.category
                                 ORDER BY e.version DESC LIMIT 1), 0) AS head
                FROM unnest(snapshot_appends, snapshot_places, snapshot_stream_ids, snapshot_categories,
                            snapshot_versions, snapshot_added)
                     AS snapshot (append, place, stream_id, category, version, added)
            ) AS snapshot
            WHERE version NOT BETWEEN 1 AND head + added
            ORDER BY outcome DESC, place DESC
        LOOP
            IF verdict.command IS NOT NULL THEN
                command_positions[verdict.command] := verdict.number;
                command_answers[verdict.command] := verdict.place;
            END IF;
            IF outcomes[verdict.append] = 0 OR verdict.outcome <= outcomes[verdict.append] THEN
                outcomes[verdict.append] := verdict.outcome;
                numbers[verdict.append] := verdict.number;
                places[verdict.append] := verdict.place;
            END IF;
        END LOOP;
    END IF;

    FOR part IN 1 .. cardinality(part_appends) LOOP
        before[part] := written;
        reached[part] := CASE part_before[part] WHEN 0 THEN heads[part] ELSE reached[part_before[part]] END;
        -- While it has the appender lock alone nobody else writes to any stream.
        IF part_events[part] = 0 AND part_expected[part] >= 0 AND outcomes[part_appends[part]] = 0 AND NOT alone THEN
            guards := guards || part;
        END IF;
        IF outcomes[part_appends[part]] = 0 THEN
            bases[part] := reached[part];
            reached[part] := reached[part] + part_events[part];
            written := written + part_events[part];
        ELSE
            bases[part] := -1;
        END IF;
    END LOOP;

    -- Positions grow from call to call. Drawn beforehand, they do not depend on the order in which rows are inserted.
    IF written > 0 THEN
        positions := ARRAY(SELECT nextval('events_position') FROM generate_series(1, written));
        FOR part IN 1 .. cardinality(part_appends) LOOP
            IF bases[part] >= 0 AND part_events[part] > 0 THEN
                numbers[part_appends[part]] := positions[before[part] + part_events[part]];
            END IF;
        END LOOP;
    END IF;

    IF cardinality(step_appends) > 0 THEN
        PERFORM make_steps(outcomes, step_appends, step_followers, step_upstreams, step_ends,
                           note_appends, note_followers, note_upstreams, note_keys, note_values,
                           step_seen_positions, step_seen_identities, step_cut_followers, step_cut_partitions);
    END IF;

    IF 0 < ANY (command_kinds) THEN
        newest := coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0);
    END IF;
    FOR command IN 1 .. cardinality(command_appends) LOOP
        IF outcomes[command_appends[command]] = 0 THEN
            command_answers[command] := coalesce(command_kinds[command], 0);
            IF command_answers[command] > 0 AND numbers[command_appends[command]] = 0 THEN
                numbers[command_appends[command]] := newest;
            END IF;
            command_positions[command] := CASE
                WHEN command_parts[command] > 0
                THEN positions[before[command_parts[command]] + command_events[command]]
                -- Nothing has been seen by those who share the append that is newer than what is seen here, and than their own.
                WHEN command_answers[command] > 0 THEN greatest(numbers[command_appends[command]], newest)
                ELSE numbers[command_appends[command]]
            END;
        END IF;
    END LOOP;

    IF cardinality(command_appends) > 0 THEN
        INSERT INTO receipts (command_id, position, kind, decided_at)
        SELECT command_id, CASE kind WHEN 2 THEN 0 ELSE position END, kind, CASE kind WHEN 2 THEN position END
        FROM (SELECT unnest(command_appends) AS append, unnest(command_ids) AS command_id,
                     unnest(command_kinds) AS kind, unnest(command_positions) AS position) AS command
        WHERE outcomes[append] = 0;
    END IF;

    IF cardinality(guards) > 0 THEN
        first_guard := -(pg_current_xact_id()::text::bigint << 20);
        -- A row in the place of the next event of each guarded stream, in one order with the events: whoever writes there
        -- waits until this transaction ends, and whoever has begun to is waited for. The rows are gone when it ends. Their
        -- positions are below 0 and each transaction's own, so none is drawn and no reader looks there.
        INSERT INTO events (position, stream_id, category, version, name, schema_version, codec, recorded_at,
                            metadata, payload)
        OVERRIDING SYSTEM VALUE
        SELECT position, stream_id, category, version, name, schema_version, codec, recorded_at, metadata, payload
        FROM (
            SELECT positions[before[part] + number] AS position, stream_id, category, bases[part] + number AS version,
                   name, schema_version, codec, recorded_at, metadata, payload
            FROM (
                SELECT unnest(event_parts) AS part, unnest(event_numbers) AS number,
                       unnest(event_stream_ids) AS stream_id, unnest(event_categories) AS category,
                       unnest(event_names) AS name, unnest(event_schema_versions) AS schema_version,
                       unnest(event_codecs) AS codec, unnest(event_recorded_at) AS recorded_at,
                       unnest(event_metadata) AS metadata, unnest(event_payloads) AS payload
            ) AS event
            WHERE bases[part] >= 0
          UNION ALL
            SELECT DISTINCT ON (part_stream_ids[part], part_categories[part])
                   first_guard - part, part_stream_ids[part], part_categories[part], heads[part] + 1,
                   '', 0, 0::smallint, 'epoch', ''::bytea, ''::bytea
            FROM unnest(guards) AS part
        ) AS written_or_guarded
        ORDER BY stream_id, category COLLATE "C", version;
        PERFORM end_guards(ARRAY(SELECT first_guard - part FROM unnest(guards) AS part));
    ELSIF written > 0 THEN
        INSERT INTO events (position, stream_id, category, version, name, schema_version, codec, recorded_at,
                            metadata, payload)
        OVERRIDING SYSTEM VALUE
        SELECT positions[before[part] + number], stream_id, category, bases[part] + number, name, schema_version,
               codec, recorded_at, metadata, payload
        FROM (
            SELECT unnest(event_parts) AS part, unnest(event_numbers) AS number,
                   unnest(event_stream_ids) AS stream_id, unnest(event_categories) AS category,
                   unnest(event_names) AS name, unnest(event_schema_versions) AS schema_version,
                   unnest(event_codecs) AS codec, unnest(event_recorded_at) AS recorded_at,
                   unnest(event_metadata) AS metadata, unnest(event_payloads) AS payload
        ) AS event
        WHERE bases[part] >= 0;
    END IF;

    IF cardinality(snapshot_appends) > 0 THEN
        -- Of two snapshots for one place the later one stays.
        INSERT INTO snapshots (stream_id, category, fingerprint, version, codec, payload)
        SELECT DISTINCT ON (stream_id, category, fingerprint, version)
               stream_id, category, fingerprint, version, codec, payload
        FROM unnest(snapshot_appends, snapshot_stream_ids, snapshot_categories, snapshot_fingerprints,
                    snapshot_versions, snapshot_codecs, snapshot_payloads) WITH ORDINALITY
             AS snapshot (append, stream_id, category, fingerprint, version, codec, payload, place)
        WHERE outcomes[append] = 0
        ORDER BY stream_id, category, fingerprint, version, place DESC
        ON CONFLICT (stream_id, category, fingerprint, version)
        DO UPDATE SET codec = excluded.codec, payload = excluded.payload;
    END IF;
END
$$;

UPDATE meta SET value = '3' WHERE key = 'schema_version';
