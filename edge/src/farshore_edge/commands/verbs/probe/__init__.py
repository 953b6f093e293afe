"""``net-probe``: one look from the node at the network. Each kind has its module.

Where it may look is the node's own choice (``probe_targets``): the verb is taken unsigned, and must
not make every node a scanner of its network. Nothing blocks a thread: names are looked up by a program
that can be ended, and everything else waits in the event loop.
"""

from farshore_edge.commands.verbs.probe.verb import net_probe

__all__ = ["net_probe"]
