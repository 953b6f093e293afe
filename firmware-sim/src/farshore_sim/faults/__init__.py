"""Faults on purpose."""

from farshore_sim.faults.proxy import Reception, TcpProxy

__all__ = ["Reception", "TcpProxy"]
