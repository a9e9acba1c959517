-- A follower's row holds the last event it has seen, by position and identity, and the number of partitions that the
-- follower of this name is cut into. Each is NULL until a step says so; what older programs have noted stays true.

ALTER TABLE eventsourcing_tracking ADD COLUMN seen_position INTEGER;
ALTER TABLE eventsourcing_tracking ADD COLUMN seen_identity BLOB;
ALTER TABLE eventsourcing_tracking ADD COLUMN partitions INTEGER;

UPDATE eventsourcing_tracking SET partitions = (
    SELECT CAST(value AS INTEGER) FROM eventsourcing_notes AS note
    WHERE note.follower = eventsourcing_tracking.follower AND note.upstream = eventsourcing_tracking.upstream
      AND note.key = 'partitions'
);

-- What kind of answer a command has got: 0 recorded, 1 nothing recorded, 2 rejected; NULL, as earlier programs write it,
-- is a rejection at position 0 and otherwise recorded. The position of a rejection stands in decided_at, because
-- earlier programs know a rejection by its position 0.

ALTER TABLE eventsourcing_receipts ADD COLUMN kind INTEGER;
ALTER TABLE eventsourcing_receipts ADD COLUMN decided_at INTEGER;

UPDATE eventsourcing_meta SET value = '4' WHERE key = 'schema_version';
