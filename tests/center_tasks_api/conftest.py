"""A running center."""

from center.conftest import running as running
