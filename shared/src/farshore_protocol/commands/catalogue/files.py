"""Verbs about files and logs of the machine."""

from farshore_protocol.commands.catalogue.model import Verb

FILES: tuple[Verb, ...] = ()
