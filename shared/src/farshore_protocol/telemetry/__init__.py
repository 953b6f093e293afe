"""Telemetry on the wire: one columnar batch of samples."""

from farshore_protocol.telemetry.batch import TelemetryBatch, check_batch, inflate, pack_body

__all__ = ["TelemetryBatch", "check_batch", "inflate", "pack_body"]
