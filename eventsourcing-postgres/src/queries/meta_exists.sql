-- Asks the catalogue itself: what to_regclass() says may be older than the lock this process has just been given. It shows
-- tables also to a role that may not use their schema, so that is asked too.
SELECT EXISTS (SELECT FROM pg_class
               WHERE relname = 'meta' AND relnamespace = (SELECT oid FROM pg_namespace
                                                          WHERE nspname = current_setting('eventsourcing.schema'))),
       coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace
                 WHERE nspname = current_setting('eventsourcing.schema')), true),
       current_setting('server_encoding')
