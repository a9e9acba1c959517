-- What the role of a program needs once the schema is there: it may add to the log, and can neither change nor delete
-- what stands in it. The role that creates or migrates the schema owns it and needs nothing from here; run a program
-- once with that role, for example when a release is rolled out.
--
-- Put in place of `eventsourcing` the schema and of `eventsourcing_app` the role.

GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_app;
GRANT SELECT ON eventsourcing.meta TO eventsourcing_app;
GRANT SELECT, INSERT ON eventsourcing.events, eventsourcing.receipts TO eventsourcing_app;
GRANT USAGE ON SEQUENCE eventsourcing.events_position TO eventsourcing_app;
GRANT SELECT, INSERT, UPDATE ON eventsourcing.tracking, eventsourcing.leases, eventsourcing.snapshots
    TO eventsourcing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON eventsourcing.notes TO eventsourcing_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventsourcing TO eventsourcing_app;

-- For a program that keeps read models in this database, and makes their tables itself:
-- GRANT CREATE ON SCHEMA eventsourcing TO eventsourcing_app;

-- For humans who read with psql and write nothing:
-- GRANT USAGE ON SCHEMA eventsourcing TO somebody;
-- GRANT SELECT ON ALL TABLES IN SCHEMA eventsourcing TO somebody;
