-- Includes the receipt at which the page begins.
SELECT command_id, position, kind, decided_at FROM receipts WHERE command_id >= $1 ORDER BY command_id LIMIT $2
