-- The settings that tell which machines a commit of this session waits for, and whether the server really flushes.
-- Every role may read them. All sessions of a store that append have the same synchronous_commit.
SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
       current_setting('max_wal_senders')::integer, current_setting('fsync')::boolean,
       current_setting('full_page_writes')::boolean
