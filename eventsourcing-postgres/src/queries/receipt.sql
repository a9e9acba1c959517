SELECT position FROM receipts WHERE command_id = $1
