SELECT command_id, position, kind, decided_at FROM receipts WHERE command_id = $1
