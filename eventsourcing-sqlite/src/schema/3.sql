-- What followers note with their steps, and how many steps they have made since this schema.

CREATE TABLE eventsourcing_notes (
    follower TEXT NOT NULL,
    upstream BLOB NOT NULL,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (follower, upstream, key)
) STRICT, WITHOUT ROWID;

ALTER TABLE eventsourcing_tracking ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

UPDATE eventsourcing_meta SET value = '3' WHERE key = 'schema_version';
