"""Jobs: a command or a configuration for many nodes, in waves, with limits, gates and a way back."""
