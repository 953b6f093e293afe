"""Work that the center places on this node."""
