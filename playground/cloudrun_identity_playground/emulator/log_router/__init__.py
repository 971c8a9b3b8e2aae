"""The log router: sinks that export log entries to Pub/Sub."""
