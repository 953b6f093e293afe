"""The telemetry history: an inbox of batches, compressed chunks, queries over both."""
