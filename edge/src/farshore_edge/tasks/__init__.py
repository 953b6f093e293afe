"""Work that the center placed on this node: kept running with or without the center."""
