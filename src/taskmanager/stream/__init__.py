"""The live stream: events of the log for those who listen, as server-sent events."""
