"""Who this center is: the name of its database, its starts, and whether it was restored."""
