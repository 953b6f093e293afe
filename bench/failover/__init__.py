"""How soon work goes on when its node, or its process, is killed: among a thousand simulated nodes."""
