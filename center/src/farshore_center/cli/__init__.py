"""The command lines: ``farshore`` for operators, over REST alone; ``farshore-center`` for the center.

One file per noun. Nothing in ``farshore`` reaches into the center's own modules: what it can do,
any program can do over the API.
"""
