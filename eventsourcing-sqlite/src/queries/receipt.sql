SELECT position FROM eventsourcing_receipts WHERE command_id = ?1
