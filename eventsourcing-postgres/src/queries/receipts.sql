-- The one at which it begins included.
SELECT command_id, position, kind, decided_at FROM receipts WHERE command_id >= $1 ORDER BY command_id LIMIT $2
