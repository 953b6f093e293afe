"""The driver ``python``: a function of a wheel, in an environment of its own."""
