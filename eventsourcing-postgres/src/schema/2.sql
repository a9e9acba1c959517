-- Followers record the last event they have seen, and the number of partitions they are cut into.
--
-- Programs of the first schema continue beside newer ones: the functions have defaults for the new arguments.

-- The row of a follower holds the last event it has seen, by position and identity, and the number of partitions of the
-- follower of this name. Each is NULL until a step sets it.
ALTER TABLE tracking
    ADD COLUMN seen_position bigint,
    ADD COLUMN seen_identity bytea,
    ADD COLUMN partitions    integer;

UPDATE tracking SET partitions = note.value::integer
FROM notes AS note
WHERE note.follower = tracking.follower AND note.upstream = tracking.upstream AND note.key = 'partitions';

-- The kind of a command's receipt: 0 recorded, 1 nothing recorded, 2 rejected. NULL, as programs of the first schema
-- write it, is a rejection at position 0 and otherwise recorded. Those programs recognise a rejection by its position
-- 0, so the position at which a command was rejected is in a column that they do not read.
ALTER TABLE receipts
    ADD COLUMN kind       smallint,
    ADD COLUMN decided_at bigint;

DROP FUNCTION append, step, make_steps, refused_steps, lock_steps;

-- The steps of followers, which append() makes together with events, and step() together with the other writes of its
-- transaction. Arrays are those of append().
--
-- Locks the followers, so that no other transaction moves them or takes their leases while a step is made. Unknown
-- followers get a row to be locked: otherwise two first steps could both be checked before either is made.
CREATE FUNCTION lock_steps(
    step_followers text[], step_upstreams uuid[], step_leases bigint[], step_cut_followers text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tracking (follower, upstream, position, revision)
    SELECT follower, upstream, 0, 0
    FROM unnest(step_followers || step_cut_followers, step_upstreams || step_upstreams) AS step (follower, upstream)
    WHERE follower IS NOT NULL
    ORDER BY follower, upstream
    ON CONFLICT DO NOTHING;
    -- A recorded number of partitions never changes, so its row need not be locked; otherwise the partitions of a
    -- follower would wait for each other.
    PERFORM FROM (
                SELECT follower, upstream, true AS steps
                FROM unnest(step_followers, step_upstreams) AS step (follower, upstream)
              UNION ALL
                SELECT follower, upstream, false
                FROM unnest(step_cut_followers, step_upstreams) AS cut (follower, upstream)
            ) AS wanted
            JOIN tracking USING (follower, upstream)
            WHERE steps OR partitions IS NULL
            ORDER BY follower, upstream
            FOR UPDATE OF tracking;
    PERFORM FROM unnest(step_followers, step_upstreams, step_leases) AS step (follower, upstream, token_shown)
            JOIN leases USING (follower, upstream)
            WHERE token_shown <> -1
            ORDER BY follower, upstream
            FOR SHARE OF leases;
END
$$;

-- The steps that cannot be made, with the outcomes and numbers of append(). The function is inlined into the calling
-- statement.
CREATE FUNCTION refused_steps(
    step_appends integer[], step_followers text[], step_upstreams uuid[], step_starts bigint[], step_leases bigint[],
    step_revisions bigint[], step_cut_followers text[], step_cut_partitions integer[]
) RETURNS TABLE (append integer, outcome integer, number bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT step.append, 2, coalesce(tracking.position, 0)
    FROM unnest(step_appends, step_followers, step_upstreams, step_starts, step_revisions)
         AS step (append, follower, upstream, start, revision)
    LEFT JOIN tracking USING (follower, upstream)
    WHERE coalesce(tracking.position, 0) <> step.start
       OR step.revision <> -1 AND coalesce(tracking.revision, 0) <> step.revision
  UNION ALL
    SELECT step.append, 6, coalesce(leases.token, 0)
    FROM unnest(step_appends, step_followers, step_upstreams, step_leases)
         AS step (append, follower, upstream, token_shown)
    LEFT JOIN leases USING (follower, upstream)
    WHERE step.token_shown <> -1 AND coalesce(leases.token, 0) <> step.token_shown
  UNION ALL
    SELECT step.append, 7, tracking.partitions
    FROM unnest(step_appends, step_cut_followers, step_upstreams, step_cut_partitions)
         AS step (append, follower, upstream, partitions)
    JOIN tracking USING (follower, upstream)
    WHERE tracking.partitions <> step.partitions;
END;

-- Makes the steps of the appends whose outcome is 0.
CREATE FUNCTION make_steps(
    outcomes integer[],
    step_appends integer[], step_followers text[], step_upstreams uuid[], step_ends bigint[],
    note_appends integer[], note_followers text[], note_upstreams uuid[], note_keys text[], note_values text[],
    step_seen_positions bigint[], step_seen_identities bytea[], step_cut_followers text[], step_cut_partitions integer[]
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE tracking
    SET position = destination, revision = revision + 1,
        seen_position = coalesce(step.seen_position, tracking.seen_position),
        seen_identity = coalesce(step.seen_identity, tracking.seen_identity)
    FROM unnest(step_appends, step_followers, step_upstreams, step_ends, step_seen_positions, step_seen_identities)
         AS step (append, follower, upstream, destination, seen_position, seen_identity)
    WHERE tracking.follower = step.follower AND tracking.upstream = step.upstream AND outcomes[append] = 0;

    UPDATE tracking SET partitions = cut.partitions
    FROM unnest(step_appends, step_cut_followers, step_upstreams, step_cut_partitions)
         AS cut (append, follower, upstream, partitions)
    WHERE tracking.follower = cut.follower AND tracking.upstream = cut.upstream AND tracking.partitions IS NULL
      AND outcomes[append] = 0;

    IF cardinality(note_appends) > 0 THEN
        DELETE FROM notes
        USING unnest(note_appends, note_followers, note_upstreams, note_keys, note_values)
              AS note (append, follower, upstream, key, value)
        WHERE notes.follower = note.follower AND notes.upstream = note.upstream AND notes.key = note.key
          AND note.value IS NULL AND outcomes[append] = 0;
        INSERT INTO notes (follower, upstream, key, value)
        SELECT follower, upstream, key, value
        FROM unnest(note_appends, note_followers, note_upstreams, note_keys, note_values)
             AS note (append, follower, upstream, key, value)
        WHERE value IS NOT NULL AND outcomes[append] = 0
        ON CONFLICT (follower, upstream, key) DO UPDATE SET value = excluded.value;
    END IF;
END
$$;

-- Makes one step in the transaction of the caller, and returns the outcome as append() does. It takes no appender lock:
-- a transaction that writes no event delays no reader. Two transactions with steps of the same follower wait for each
-- other here.
CREATE FUNCTION step(
    step_follower text, step_upstream uuid, step_start bigint, step_end bigint, step_lease bigint, step_revision bigint,
    note_keys text[], note_values text[],
    step_seen_position bigint DEFAULT NULL, step_seen_identity bytea DEFAULT NULL,
    step_cut_follower text DEFAULT NULL, step_cut_partitions integer DEFAULT NULL,
    OUT outcome integer, OUT number bigint
)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
-- The settings of the sessions that append: see queries/session.sql.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM lock_steps(ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_lease], ARRAY[step_cut_follower]);

    SELECT refused.outcome, refused.number INTO step.outcome, step.number
    FROM refused_steps('{1}', ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_start], ARRAY[step_lease],
                       ARRAY[step_revision], ARRAY[step_cut_follower], ARRAY[step_cut_partitions]) AS refused
    ORDER BY refused.outcome LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;

    PERFORM make_steps('{0}', '{1}', ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_end],
                       array_fill(1, ARRAY[cardinality(note_keys)]),
                       array_fill(step_follower, ARRAY[cardinality(note_keys)]),
                       array_fill(step_upstream, ARRAY[cardinality(note_keys)]), note_keys, note_values,
                       ARRAY[step_seen_position], ARRAY[step_seen_identity],
                       ARRAY[step_cut_follower], ARRAY[step_cut_partitions]);
    outcome := 0;
    number := step_end;
END
$$;

-- Deletes the rows that stood for the guards of the calling transaction. No other transaction can have seen them, so a
-- role without the right to delete may call this.
CREATE FUNCTION end_guards(guards bigint[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
    DELETE FROM events WHERE position = ANY (guards) AND position < 0;
END;

-- Processes a batch of appends, each wholly or not at all, and returns the outcome of each.
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
--   1 repeated, position and kind of the       4 snapshot beyond its stream, its version, which snapshot
--     first receipt
--   2 the follower is elsewhere, its position  5 sound, but it has to wait for the next batch
--                                              6 the lease is lost, the newest token
--                                              7 the follower is cut otherwise, into how many
--
-- `step_leases`: the token of each step, or -1 for none. `step_revisions`: how many steps the follower must have made,
-- or -1 for any number; otherwise the outcome is 2 as well. `note_values`: NULL for a note to be forgotten.
-- `command_kinds`: the kind of receipt that each command leads to, as in `receipts`, or NULL for all if the caller knows of
-- none. A command without an event gets the position of the last event that can be seen, which was there before the batch.
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
    OUT outcomes integer[], OUT numbers bigint[], OUT places integer[]
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

    -- This comes before the appender lock: a step may have to wait for a transaction that calls step(), and until the
    -- appender lock is taken no reader and no exclusive append waits for this transaction.
    IF cardinality(step_appends) > 0 THEN
        PERFORM lock_steps(step_followers, step_upstreams, step_leases, step_cut_followers);
    END IF;

    -- The lock comes before every check, and before a position is drawn: see fences.rs.
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

    -- The checks of most appends need no further statement. Of several verdicts on one append the lowest counts.
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
    IF cardinality(command_appends) + cardinality(step_appends) + cardinality(snapshot_appends) > 0 THEN
        FOR verdict IN
            SELECT append, 1 AS outcome,
                   CASE WHEN command_kinds IS NULL THEN position ELSE coalesce(decided_at, position) END AS number,
                   coalesce(kind, CASE position WHEN 0 THEN 2 ELSE 0 END)::integer AS place
            FROM unnest(command_appends, command_ids) AS command (append, command_id) JOIN receipts USING (command_id)
          UNION ALL
            SELECT append, outcome, number, 0
            FROM refused_steps(step_appends, step_followers, step_upstreams, step_starts, step_leases, step_revisions,
                               step_cut_followers, step_cut_partitions)
          UNION ALL
            SELECT append, 4, head + added, place
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
        -- While this transaction holds the appender lock exclusively no other one writes to any stream.
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

    -- Positions grow from call to call. They are drawn beforehand, so they do not depend on the order in which rows are
    -- inserted.
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
        FOR command IN 1 .. cardinality(command_appends) LOOP
            IF command_kinds[command] > 0 AND outcomes[command_appends[command]] = 0 THEN
                numbers[command_appends[command]] := newest;
            END IF;
        END LOOP;
    END IF;

    IF cardinality(command_appends) > 0 THEN
        INSERT INTO receipts (command_id, position, kind, decided_at)
        SELECT command_id, CASE kind WHEN 2 THEN 0 ELSE numbers[append] END, kind,
               CASE kind WHEN 2 THEN numbers[append] END
        FROM (SELECT unnest(command_appends) AS append, unnest(command_ids) AS command_id,
                     unnest(command_kinds) AS kind) AS command
        WHERE outcomes[append] = 0;
    END IF;

    IF cardinality(guards) > 0 THEN
        first_guard := -(pg_current_xact_id()::text::bigint << 20);
        -- A row takes the place of the next event of each guarded stream, in one order with the events: a writer of
        -- that stream waits until this transaction ends, and this one waits for a writer that was first. The rows are
        -- deleted before the end. Their positions are below 0 and unique to the transaction, so none is drawn from the
        -- sequence and no reader looks there.
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
        -- Of two snapshots with the same key the later one stays.
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

UPDATE meta SET value = '2' WHERE key = 'schema_version';
