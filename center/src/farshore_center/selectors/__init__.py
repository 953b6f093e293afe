"""Selectors: which nodes somebody means, in one line of text.

``parse`` reads one, ``render`` writes it canonically, ``find`` asks the database, ``matches`` asks
one node. What a comparison means stands once, in ``values.py`` and ``patterns.py``; the SQL and the
predicate are two ways to ask the same question.
"""

from farshore_center.selectors.errors import SelectorError
from farshore_center.selectors.grammar import parse
from farshore_center.selectors.model import Selector, expand, fields, overlays
from farshore_center.selectors.predicate import Subject, matches
from farshore_center.selectors.render import render
from farshore_center.selectors.sql import find

__all__ = [
    "Selector",
    "SelectorError",
    "Subject",
    "expand",
    "fields",
    "find",
    "matches",
    "overlays",
    "parse",
    "render",
]
