-- The session of this connection, and whether one of the sessions in the arrays still lives on this server: see
-- epochs.rs. Every role sees its own sessions, even without further privileges.
SELECT pg_backend_pid(),
       (SELECT coalesce((extract(epoch FROM own.backend_start) * 1000000)::bigint, 0)
        FROM pg_stat_activity AS own WHERE own.pid = pg_backend_pid()),
       EXISTS (SELECT FROM unnest($1::integer[], $2::bigint[]) AS known (pid, started)
               JOIN pg_stat_activity AS session
                 ON session.pid = known.pid
                AND (extract(epoch FROM session.backend_start) * 1000000)::bigint = known.started)
