-- The settings that say what a commit of this session waits for, and if the server flushes what it says it has flushed. Every role
-- may read them. All sessions of a store that append have the same synchronous_commit.
SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
       current_setting('max_wal_senders')::integer, current_setting('fsync')::boolean,
       current_setting('full_page_writes')::boolean
