"""Which nodes are meant, asked of the database: SQLite and PostgreSQL.

Comparisons with labels and facts are sub-queries of ``node_value`` by its key. Regular expressions
and subnets are no two databases' the same: the texts that they could mean are read first, tested
here, and those that fit are the question. So the database and the predicate can't differ in them.
"""

from collections.abc import Mapping

import orjson
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection
from sqlalchemy.dialects.postgresql import JSONB

from farshore_center.nodes.model import node_values, nodes
from farshore_center.selectors.model import (
    ORDER,
    AllOf,
    AnyOf,
    Compare,
    Everything,
    Field,
    Has,
    InGroup,
    InOverlay,
    Not,
    OneOf,
    Operand,
    Selector,
    terms,
)
from farshore_center.selectors.patterns import glob_posix, glob_sqlite, subnet_globs
from farshore_center.selectors.predicate import text_test

Fitting = Mapping[Compare, list[str]]
"""For each term that the database can't answer itself: the texts that fit it."""

Condition = ColumnElement[bool]

_COLUMNS: Mapping[str, ColumnElement[str]] = {"node": nodes.c.name, "group": nodes.c.group_path}


def find(connection: Connection, selector: Selector) -> list[str]:
    """The names of the nodes that ``selector`` means; it holds no overlays any more."""
    dialect = connection.dialect.name
    fitting = {
        term: _fitting(connection, term)
        for term in terms(selector)
        if isinstance(term, Compare) and term.op in ("=~", "within")
    }
    statement = sa.select(nodes.c.name).where(condition(selector, dialect, fitting))
    return list(connection.scalars(statement))


def condition(selector: Selector, dialect: str, fitting: Fitting) -> Condition:
    """Over the table of nodes; true or false of every row, never NULL."""
    match selector:
        case Everything():
            return sa.true()
        case Not(inner=inner):
            return sa.not_(condition(inner, dialect, fitting))
        case AllOf(parts=parts):
            return sa.and_(*(condition(part, dialect, fitting) for part in parts))
        case AnyOf(parts=parts):
            return sa.or_(*(condition(part, dialect, fitting) for part in parts))
        case InGroup(path=path, subtree=subtree):
            return _in_group(path, subtree)
        case Has(field=field):
            return _has(field, dialect)
        case OneOf(field=field, operands=operands):
            return _any(field, sa.or_(*(_equal(field, operand) for operand in operands)))
        case Compare(field=field, op="!=", operand=operand):
            return sa.not_(_any(field, _equal(field, operand)))
        case Compare(field=field):
            return _any(field, _test(selector, dialect, fitting))
        case InOverlay(name=name):
            raise ValueError(f"overlay:{name} is not expanded")


def _in_group(path: str, subtree: bool) -> Condition:
    here = nodes.c.group_path == path
    if not subtree:
        return here
    if path == "":
        return sa.true()
    below = path + "/"
    return sa.or_(here, sa.func.substr(nodes.c.group_path, 1, len(below)) == below)


def _has(field: Field, dialect: str) -> Condition:
    path = field.stored
    here: Condition = node_values.c.path == path
    if field.kind == "fact":
        stored = _binary(node_values.c.path, dialect)
        # "/" is the character after ".": a range of the key, everything below the path.
        here = sa.or_(here, sa.and_(stored >= path + ".", stored < path + "/"))
    return nodes.c.name.in_(sa.select(node_values.c.node).where(here))


def _any(field: Field, test: Condition) -> Condition:
    """Whether a value of the field passes the test."""
    if field.kind not in ("label", "fact"):
        return test
    of_path = node_values.c.path == field.stored
    return nodes.c.name.in_(sa.select(node_values.c.node).where(sa.and_(of_path, test)))


def _equal(field: Field, operand: Operand) -> Condition:
    if field.kind == "state":
        return nodes.c.online == sa.literal(operand.text == "online")
    if field.kind in _COLUMNS:
        return _COLUMNS[field.kind] == operand.text
    spelled = node_values.c.text == operand.text
    if operand.number is None:
        return spelled
    number = sa.and_(node_values.c.kind == "n", node_values.c.num == operand.number)
    return sa.or_(spelled, number)


def _test(term: Compare, dialect: str, fitting: Fitting) -> Condition:
    field, op, operand = term.field, term.op, term.operand
    if op == "=":
        return _equal(field, operand)
    column: ColumnElement[str] = _COLUMNS.get(field.kind, node_values.c.text)
    if op == "~":
        return _glob(column, operand.text, dialect)
    if op in ORDER:
        if operand.number is not None:
            ordered: Condition = node_values.c.num.op(op, is_comparison=True)(operand.number)
            return sa.and_(node_values.c.num.is_not(None), ordered)
        text: Condition = _binary(column, dialect).op(op, is_comparison=True)(operand.text)
        return sa.and_(node_values.c.kind == "s", text)
    return column.in_(_listed(fitting[term], dialect))


def _glob(column: ColumnElement[str], pattern: str, dialect: str) -> Condition:
    if dialect == "postgresql":
        fits: Condition = _binary(column, dialect).op("~", is_comparison=True)(glob_posix(pattern))
    else:
        fits = column.op("GLOB", is_comparison=True)(glob_sqlite(pattern))
    return fits


def _binary(column: ColumnElement[str], dialect: str) -> ColumnElement[str]:
    """Compared by code point, as Python does; SQLite's own way."""
    return sa.collate(column, "C") if dialect == "postgresql" else column


def _listed(texts: list[str], dialect: str) -> sa.Select[tuple[str]]:
    """Any number of texts as one parameter."""
    given = orjson.dumps(texts).decode()
    if dialect == "postgresql":
        unpacked = sa.func.jsonb_array_elements_text(sa.cast(sa.literal(given, sa.Text), JSONB))
        return sa.select(unpacked.table_valued("value").c.value)
    return sa.select(sa.func.json_each(given).table_valued("value").c.value)


def _fitting(connection: Connection, term: Compare) -> list[str]:
    """Of the texts that there are, those that the term fits."""
    column: ColumnElement[str] = _COLUMNS.get(term.field.kind, node_values.c.text)
    question = sa.select(column).distinct()
    if term.field.kind not in _COLUMNS:
        question = question.where(node_values.c.path == term.field.stored)
    if term.op == "within":
        glob = subnet_globs(term.operand.text)
        question = question.where(_glob(column, glob, connection.dialect.name))
    test = text_test(term.op, term.operand.text)
    return [text for text in connection.scalars(question).all() if test(text)]
