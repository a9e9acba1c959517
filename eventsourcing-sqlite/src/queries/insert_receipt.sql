INSERT INTO eventsourcing_receipts (command_id, position) VALUES (?1, ?2)
