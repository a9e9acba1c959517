INSERT INTO eventsourcing_receipts (command_id, position, kind, decided_at) VALUES (?1, ?2, ?3, ?4)
