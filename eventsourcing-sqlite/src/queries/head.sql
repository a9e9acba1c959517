SELECT coalesce(max(position), 0) FROM eventsourcing_events
