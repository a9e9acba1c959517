-- One process at a time creates or migrates this schema. The upper half marks this program's locks (the letters ES,
-- then 2).
SELECT pg_advisory_xact_lock(((17747 * 65536 + 2)::bigint << 32)
                             | (hashtext(current_setting('eventsourcing.schema'))::bigint & 4294967295))
