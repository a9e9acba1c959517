-- Whoever may not create schemas may still fill one that has been made for the purpose.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = current_setting('eventsourcing.schema')) THEN
        EXECUTE format('CREATE SCHEMA %I', current_setting('eventsourcing.schema'));
    END IF;
END
$$;
