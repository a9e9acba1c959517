-- The first schema. It runs in one transaction with a search_path of this schema alone, so no statement names the
-- schema, and the functions keep that path (SET search_path FROM CURRENT) for every caller.

CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO meta (key, value) VALUES ('schema_version', '1'), ('log_id', gen_random_uuid()::text);

-- The log. Names are compared byte by byte with the collation "C", so no upgrade of the system's collations can damage
-- an index. append() draws a position while it holds the appender lock; a position cannot be chosen by any other means.
CREATE TABLE events (
    position       bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME events_position CACHE 1),
    version        bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    stream_id      uuid        NOT NULL,
    schema_version integer     NOT NULL,
    codec          smallint    NOT NULL,
    category       text        COLLATE "C" NOT NULL,
    name           text        COLLATE "C" NOT NULL,
    metadata       bytea       NOT NULL,
    payload        bytea       NOT NULL,
    CONSTRAINT events_log PRIMARY KEY (position),
    -- Streams. The index is the last guard against two events with the same version.
    CONSTRAINT events_stream UNIQUE (stream_id, category, version)
);

-- The aggregates of a category: one entry for each stream, in the order of the log.
CREATE INDEX events_first ON events (position) WHERE version = 1;

-- Programs of different releases keep their snapshots side by side.
CREATE TABLE snapshots (
    stream_id   uuid     NOT NULL,
    category    text     COLLATE "C" NOT NULL,
    fingerprint bigint   NOT NULL, -- the 64 bits, read as a signed number
    version     bigint   NOT NULL,
    codec       smallint NOT NULL,
    payload     bytea    NOT NULL,
    PRIMARY KEY (stream_id, category, fingerprint, version)
);

-- The position of each follower, and the number of its steps. Rows change often; the free space on each page keeps the
-- changes off the index.
CREATE TABLE tracking (
    follower text   COLLATE "C" NOT NULL,
    upstream uuid   NOT NULL,
    position bigint NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (follower, upstream)
) WITH (fillfactor = 50);

-- The notes that followers make with their steps. Only a step writes here, while it holds the follower's row of
-- `tracking`, so no transaction waits for a note.
CREATE TABLE notes (
    follower text COLLATE "C" NOT NULL,
    upstream uuid NOT NULL,
    key      text COLLATE "C" NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (follower, upstream, key)
) WITH (fillfactor = 70);

-- The process that runs a follower. Rows stay when a lease ends, so that the next holder gets a larger token.
CREATE TABLE leases (
    follower text        COLLATE "C" NOT NULL,
    upstream uuid        NOT NULL,
    holder   uuid        NOT NULL,
    token    bigint      NOT NULL,
    until    timestamptz NOT NULL,
    PRIMARY KEY (follower, upstream)
) WITH (fillfactor = 50);

-- The commands that have been processed, so that a retry is recognised.
CREATE TABLE receipts (
    command_id uuid   PRIMARY KEY,
    position   bigint NOT NULL
);

-- The advisory lock that every append holds from before it draws its first position until its end is visible. The upper
-- half marks this program's locks (the letters ES, then 1), the lower half is the table, so no other store of this
-- database has the same lock. queries/holders.sql looks for the two halves in pg_locks. The table is resolved now, so
-- that the function needs no search_path and becomes a constant in the statements that call it.
CREATE FUNCTION appender_lock() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (17747 * 65536 + 1)::bigint << 32 | 'events'::regclass::oid::bigint;

-- An INSERT by hand takes the lock too, before its first position is drawn. The number is that of appender_lock(); the
-- trigger knows its table without a search_path, and setting one would double its cost.
CREATE FUNCTION take_appender_lock() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(
        (17747 OPERATOR(pg_catalog.*) 65536 OPERATOR(pg_catalog.+) 1)::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32
        OPERATOR(pg_catalog.|) tg_relid::pg_catalog.int8);
    RETURN NULL;
END
$$;

CREATE TRIGGER take_appender_lock BEFORE INSERT ON events
FOR EACH STATEMENT EXECUTE FUNCTION take_appender_lock();

-- The steps of followers, which append() makes together with events, and step() together with the other writes of its
-- transaction. Arrays are those of append().
--
-- Locks the followers, so that no other transaction moves them or takes their leases while a step is made. Unknown
-- followers get a row to be locked: otherwise two first steps could both be checked before either is made.
CREATE FUNCTION lock_steps(step_followers text[], step_upstreams uuid[], step_leases bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tracking (follower, upstream, position, revision)
    SELECT follower, upstream, 0, 0 FROM unnest(step_followers, step_upstreams) AS step (follower, upstream)
    ORDER BY follower, upstream
    ON CONFLICT DO NOTHING;
    PERFORM FROM unnest(step_followers, step_upstreams) AS step (follower, upstream)
            JOIN tracking USING (follower, upstream)
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
    step_revisions bigint[]
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
    WHERE step.token_shown <> -1 AND coalesce(leases.token, 0) <> step.token_shown;
END;

-- Makes the steps of the appends whose outcome is 0.
CREATE FUNCTION make_steps(
    outcomes integer[],
    step_appends integer[], step_followers text[], step_upstreams uuid[], step_ends bigint[],
    note_appends integer[], note_followers text[], note_upstreams uuid[], note_keys text[], note_values text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE tracking SET position = destination, revision = revision + 1
    FROM unnest(step_appends, step_followers, step_upstreams, step_ends)
         AS step (append, follower, upstream, destination)
    WHERE tracking.follower = step.follower AND tracking.upstream = step.upstream AND outcomes[append] = 0;

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
    OUT outcome integer, OUT number bigint
)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
-- The settings of the sessions that append: see queries/session.sql.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM lock_steps(ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_lease]);

    SELECT refused.outcome, refused.number INTO step.outcome, step.number
    FROM refused_steps('{1}', ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_start], ARRAY[step_lease],
                       ARRAY[step_revision]) AS refused
    ORDER BY refused.outcome LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;

    PERFORM make_steps('{0}', '{1}', ARRAY[step_follower], ARRAY[step_upstream], ARRAY[step_end],
                       array_fill(1, ARRAY[cardinality(note_keys)]),
                       array_fill(step_follower, ARRAY[cardinality(note_keys)]),
                       array_fill(step_upstream, ARRAY[cardinality(note_keys)]), note_keys, note_values);
    outcome := 0;
    number := step_end;
END
$$;

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
--   0 written, position of the last event      3 a stream is elsewhere, its version, which part
--   1 repeated, position of the first time     4 snapshot beyond its stream, its version, which snapshot
--   2 the follower is elsewhere, its position  5 sound, but it has to wait for the next batch
--                                              6 the lease is lost, the newest token
--
-- `step_leases`: the token of each step, or -1 for none. `step_revisions`: how many steps the follower must have made,
-- or -1 for any number; otherwise the outcome is 2 as well. `note_values`: NULL for a note to be forgotten.
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
    verdict   record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append() needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;

    -- This comes before the appender lock: a step may have to wait for a transaction that calls step(), and until the
    -- appender lock is taken no reader and no exclusive append waits for this transaction.
    IF cardinality(step_appends) > 0 THEN
        PERFORM lock_steps(step_followers, step_upstreams, step_leases);
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
            SELECT append, 1 AS outcome, position AS number, 0 AS place
            FROM unnest(command_appends, command_ids) AS command (append, command_id) JOIN receipts USING (command_id)
          UNION ALL
            SELECT append, outcome, number, 0
            FROM refused_steps(step_appends, step_followers, step_upstreams, step_starts, step_leases, step_revisions)
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
                           note_appends, note_followers, note_upstreams, note_keys, note_values);
    END IF;

    IF cardinality(command_appends) > 0 THEN
        INSERT INTO receipts (command_id, position)
        SELECT command_id, numbers[append]
        FROM (SELECT unnest(command_appends) AS append, unnest(command_ids) AS command_id) AS command
        WHERE outcomes[append] = 0;
    END IF;

    IF written > 0 THEN
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

-- Takes or renews a lease if it is free, and returns the holder afterwards, on the clock of the server.
CREATE FUNCTION take_lease(
    wanted_follower text, wanted_upstream uuid, wanted_holder uuid, milliseconds bigint,
    OUT holder uuid, OUT token bigint, OUT milliseconds_left bigint, OUT position_reached bigint
)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    -- Standby processes ask often, and should not lock the row each time.
    IF NOT EXISTS (SELECT FROM leases
                   WHERE follower = wanted_follower AND upstream = wanted_upstream
                     AND holder <> wanted_holder AND until > clock_timestamp()) THEN
        INSERT INTO leases AS held (follower, upstream, holder, token, until)
        VALUES (wanted_follower, wanted_upstream, wanted_holder, 1,
                clock_timestamp() + milliseconds * interval '1 millisecond')
        ON CONFLICT (follower, upstream) DO UPDATE
        SET holder = excluded.holder,
            token = held.token + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
            until = excluded.until
        WHERE held.holder = excluded.holder OR held.until <= clock_timestamp();
    END IF;

    SELECT held.holder, held.token, ceil(extract(epoch FROM held.until - clock_timestamp()) * 1000)::bigint,
           coalesce((SELECT position FROM tracking
                     WHERE follower = wanted_follower AND upstream = wanted_upstream), 0)
    INTO take_lease.holder, take_lease.token, milliseconds_left, position_reached
    FROM leases AS held
    WHERE held.follower = wanted_follower AND held.upstream = wanted_upstream;
END
$$;

-- Bytes as people read them: as text if they are UTF-8, and otherwise as hexadecimal digits.
CREATE FUNCTION readable(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN '\x' || encode(bytes, 'hex');
END
$$;

-- For psql: SELECT * FROM readable_events WHERE category = 'account' ORDER BY position DESC LIMIT 10;
CREATE VIEW readable_events AS
SELECT position, recorded_at, category, stream_id, version, name, schema_version,
       readable(payload) AS payload, readable(metadata) AS metadata
FROM events;
