-- The receipt of a command. Its reader takes it for an acknowledgement, but a commit that can be seen need not be as safe as that: the
-- wait for the synchronous standbys was ended (then it is seen all the same), the server crashed meanwhile, or the command was
-- written by a program that waits for nothing. So a receipt that is found is shown after a commit of its own, as
-- wait_for_standbys.sql has it, unless everything is on the disk and there is no standby to wait for.
SELECT command_id, position, kind, decided_at,
       CASE WHEN current_setting('synchronous_standby_names') <> ''
                 OR pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()
            THEN pg_logical_emit_message(true, 'eventsourcing', ''::text)
       END
FROM receipts WHERE command_id = $1
