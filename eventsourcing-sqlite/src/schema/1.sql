-- The first schema. Text stands in the open and is not interned, so that the file can be read with the sqlite3 shell.

CREATE TABLE eventsourcing_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO eventsourcing_meta (key, value) VALUES ('schema_version', '1');

-- The log. SQLite gives a new row the largest position plus one. Rows are never deleted, so no position is used twice,
-- and AUTOINCREMENT with its extra page per commit is not needed. Wide columns stand last: a filter does not read them.
CREATE TABLE eventsourcing_events (
    position       INTEGER PRIMARY KEY,
    stream_id      BLOB    NOT NULL,
    category       TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    name           TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    codec          INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL, -- microseconds since 1970
    metadata       BLOB    NOT NULL,
    payload        BLOB    NOT NULL
) STRICT;

-- Streams, and the guard of last resort against two events in one place.
CREATE UNIQUE INDEX eventsourcing_events_stream ON eventsourcing_events (stream_id, category, version);

-- Which aggregates there are: one entry for each stream, in the order of the log.
CREATE INDEX eventsourcing_events_first ON eventsourcing_events (position, category) WHERE version = 1;

-- Programs of different releases keep their snapshots side by side.
CREATE TABLE eventsourcing_snapshots (
    stream_id   BLOB    NOT NULL,
    category    TEXT    NOT NULL,
    fingerprint INTEGER NOT NULL, -- the 64 bits, read as a signed number
    version     INTEGER NOT NULL,
    codec       INTEGER NOT NULL,
    payload     BLOB    NOT NULL,
    PRIMARY KEY (stream_id, category, fingerprint, version)
) STRICT;

CREATE TABLE eventsourcing_tracking (
    follower TEXT    NOT NULL,
    upstream BLOB    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (follower, upstream)
) STRICT, WITHOUT ROWID;

CREATE TABLE eventsourcing_receipts (
    command_id BLOB    PRIMARY KEY,
    position   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
