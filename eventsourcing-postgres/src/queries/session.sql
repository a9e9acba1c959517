-- The settings of every connection of a store. Each of its statements has an index made for it, and a plan chosen while
-- a table is young must still be right when the table has grown: so no sequential scans, and no parallel ones.
SELECT set_config('search_path', quote_ident($1) || ', pg_temp', false),
       set_config('eventsourcing.schema', $1, false),
       set_config('synchronous_commit', $2, false),
       set_config('statement_timeout', $3, false),
       set_config('idle_in_transaction_session_timeout', $4, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('client_min_messages', 'warning', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false),
       set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false),
       set_config('max_parallel_workers_per_gather', '0', false),
       set_config('jit', 'off', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('work_mem', '16MB', false)
