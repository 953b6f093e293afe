"""Live logs of nodes, handed on to whoever listens. Nothing of them is stored."""
