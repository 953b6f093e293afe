"""What this node has measured of its own link."""
