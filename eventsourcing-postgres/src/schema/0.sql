-- A role that may not create schemas can still use one that was created for it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = current_setting('eventsourcing.schema')) THEN
        EXECUTE format('CREATE SCHEMA %I', current_setting('eventsourcing.schema'));
    END IF;
END
$$;
