-- Which process runs a follower. Rows stay when a lease ends, so that the next holder gets a larger token.

CREATE TABLE eventsourcing_leases (
    follower TEXT    NOT NULL,
    upstream BLOB    NOT NULL,
    holder   BLOB    NOT NULL,
    token    INTEGER NOT NULL,
    until    INTEGER NOT NULL, -- milliseconds since 1970
    PRIMARY KEY (follower, upstream)
) STRICT, WITHOUT ROWID;

UPDATE eventsourcing_meta SET value = '2' WHERE key = 'schema_version';
