-- Reads the catalogue itself, because the answer of to_regclass() may be older than the lock that this process has just
-- acquired. The catalogue shows tables also to a role that may not use their schema, so the privilege is checked too.
SELECT EXISTS (SELECT FROM pg_class
               WHERE relname = 'meta' AND relnamespace = (SELECT oid FROM pg_namespace
                                                          WHERE nspname = current_setting('eventsourcing.schema'))),
       coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace
                 WHERE nspname = current_setting('eventsourcing.schema')), true),
       current_setting('server_encoding')
