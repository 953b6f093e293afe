"""The driver ``process``: a program of this machine, held by a shim that outlives the agent.

All that finds a run again lies in files of its ``state`` folder (``drivers/shim``), so a trace is not
needed. A process is known by its number and its start, never by the number alone.
"""

from farshore_edge.tasks.drivers.process.driver import ProcessDriver

__all__ = ["ProcessDriver"]
