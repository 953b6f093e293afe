"""Verbs that look at the network and at the link to the center."""

from farshore_protocol.commands.catalogue.model import Verb

NETWORK: tuple[Verb, ...] = ()
