-- The present holders of the appender lock; the two halves of appender_lock() are in classid and objid. A prepared
-- transaction has no process.
SELECT pid, virtualtransaction
FROM pg_locks
WHERE locktype = 'advisory' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = (17747 * 65536 + 1)::bigint::oid AND objid = 'events'::regclass::oid AND objsubid = 1
