-- The privileges of a program's role once the schema exists: it may add to the log, and can neither change nor delete
-- its rows. The role that creates or migrates the schema owns it and needs none of these; run a program once with that
-- role, for example when a release is rolled out.
--
-- Replace `eventsourcing` by the schema and `eventsourcing_app` by the role.

GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_app;
GRANT SELECT ON eventsourcing.meta TO eventsourcing_app;
GRANT SELECT, INSERT ON eventsourcing.events, eventsourcing.receipts TO eventsourcing_app;
GRANT USAGE ON SEQUENCE eventsourcing.events_position TO eventsourcing_app;
GRANT SELECT, INSERT, UPDATE ON eventsourcing.tracking, eventsourcing.leases, eventsourcing.snapshots
    TO eventsourcing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON eventsourcing.notes TO eventsourcing_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventsourcing TO eventsourcing_app;

-- For a program that keeps read models in this database and creates their tables:
-- GRANT CREATE ON SCHEMA eventsourcing TO eventsourcing_app;

-- For people who only read with psql:
-- GRANT USAGE ON SCHEMA eventsourcing TO a_person;
-- GRANT SELECT ON ALL TABLES IN SCHEMA eventsourcing TO a_person;
