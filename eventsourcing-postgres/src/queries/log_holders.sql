-- The holders of the appender lock, as in holders.sql, with the start and the activity of each. The server shows an
-- ordinary role only the existence of other roles' processes. A prepared transaction is identified by the lock on its
-- own number.
SELECT lock.pid, lock.virtualtransaction,
       (extract(epoch FROM clock_timestamp() - coalesce(activity.xact_start, prepared.prepared)) * 1000)::bigint
           AS milliseconds,
       activity.state, activity.wait_event_type, activity.wait_event, activity.application_name,
       host(activity.client_addr), activity.usename::text, prepared.gid
FROM pg_locks AS lock
LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
LEFT JOIN pg_locks AS own ON lock.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid' AND own.granted
                         AND own.virtualtransaction = lock.virtualtransaction
LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
WHERE lock.locktype = 'advisory' AND lock.granted
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND lock.classid = (17747 * 65536 + 1)::bigint::oid AND lock.objid = 'events'::regclass::oid AND lock.objsubid = 1
ORDER BY milliseconds DESC NULLS LAST
