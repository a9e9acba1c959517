SELECT command_id, position, kind, decided_at FROM eventsourcing_receipts WHERE command_id = ?1
