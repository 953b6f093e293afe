"""Farshore's agent for edge nodes.

Importing this package has no effect; ``app.py`` wires the agent together, ``cli.py`` starts it.
"""

VERSION = "0.1.0"
