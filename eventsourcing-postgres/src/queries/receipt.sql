-- The receipt of a command. Its reader takes it for an acknowledgement, but the standbys may lack a visible commit: its
-- wait for them was ended, or the server crashed meanwhile. So where there are synchronous standbys, a receipt is
-- returned after a commit of its own, as in wait_for_standbys.sql. Functions that tell positions of the server's log
-- would say more, but some services refuse them.
SELECT command_id, position, kind, decided_at,
       CASE WHEN current_setting('synchronous_standby_names') <> ''
            THEN pg_logical_emit_message(true, 'eventsourcing', ''::text)
       END
FROM receipts WHERE command_id = $1
