"""Faults on purpose."""

from farshore_sim.faults.proxy import TcpProxy

__all__ = ["TcpProxy"]
