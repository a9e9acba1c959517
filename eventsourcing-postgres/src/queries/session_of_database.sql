-- The settings of a connection for statements of read models. The best plans for those are not known here, so the
-- server plans as it is configured.
SELECT set_config('search_path', quote_ident($1) || ', pg_temp', false),
       set_config('synchronous_commit', $2, false),
       set_config('statement_timeout', $3, false),
       set_config('idle_in_transaction_session_timeout', $4, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('client_min_messages', 'warning', false)
