"""What every route of the center's HTTP API shares."""
