"""Work that the center places on this node. Only the contract of its drivers is here yet."""
