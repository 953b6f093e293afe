"""Verbs about the agent and the machine as a whole: diagnose, restart, reboot, cancel."""

from farshore_protocol.commands.catalogue.model import Verb

UPKEEP: tuple[Verb, ...] = ()
