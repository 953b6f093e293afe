"""Whether the side that is chosen for a batch is the better one: both sides run, then the center chooses."""
