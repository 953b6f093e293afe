"""Fleets and selectors to hold against each other, and a real database with a fleet in it."""

from collections.abc import Sequence
from typing import Any

import orjson
from farshore_center.nodes import store
from farshore_center.selectors import Subject, find, matches
from farshore_center.selectors.model import (
    Compare,
    Everything,
    Field,
    Has,
    InGroup,
    Not,
    OneOf,
    Operand,
    Selector,
    all_of,
    any_of,
)
from farshore_center.selectors.values import read_number
from hypothesis import strategies as st
from sqlalchemy import Connection

GROUPS = ["", "eu", "eu/hamburg", "eu/hamburg/line1", "eu_", "eur", "us"]
NAMES = ["pi-1", "pi-2", "pi-10", "web1", "web2", "a", "4", "04"]
TEXTS = [
    "prod", "test", "Prod", "4", "04", "4.0", "4e0", "1.10", "1.1", "-2", "", " ", "a*b", "a[b",
    "a?b", "ä", "Ä", "z", "a\nb", "10.1.2.3", "10.2.0.1", "fd00::2", "FD00::0002", "fe80::1",
    "::1", "0fd0::1", "fdab:1::", "10.1.2.3/8", "x" * 300,
    "true", "]", "^", "-", "a-b", "a\\b", "a'b", 'a"b', "and", "\U0001f600", "\uffff", "a\x00b",
]  # fmt: skip
NUMBERS: list[Any] = [0, 4, 4.0, -2, 1.1, 2**53, 2**53 + 1, 1e300, 1e-300, 25276502016, True, False]
KEYS = ["a", "b", "a.b", "mem", "x y", "é", ""]
GLOBS = ["*", "p*", "*-1", "pi-?", "?", "[a-c]*", "[!p]*", "*[0-9]", "a[*]b", "[^]", "[-^]", "a[[]b",
         "*a*b*", "[!]]", "[]]", "10.*", "", "web[12]", "[a-cxa]", "[!^-]*", "**"]  # fmt: skip
REGEXES = [".*", "pi-[0-9]+", "(prod|test)", "", "(?i)PROD", "[0-9.]+", "a.b", "(?s)a.b", "(a+)+"]
SUBNETS = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "0.0.0.0/0",
    "fd00::/8",
    "fd00::/16",
    "fd00::/32",
    "fda0::/12",
    "fc00::/7",
    "::/8",
    "fd0::/12",
    "::1",
    "::/0",
    "10.0.0.0/14",
]

SCALARS = st.sampled_from([*TEXTS, *NUMBERS, None])
FACTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "group": st.sampled_from(GROUPS),
        "state": st.sampled_from(["online", "offline"]),
        "labels": st.dictionaries(
            st.sampled_from(["env", "line"]),
            st.sampled_from(TEXTS).map(lambda t: t[:256]),
            max_size=2,
        ),
        "facts": st.dictionaries(st.sampled_from(KEYS), FACTS, max_size=4),
    }
)


def fleet_of(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, **each} for name, each in zip(NAMES, documents, strict=False)]


FLEETS = st.lists(DOCUMENTS, max_size=len(NAMES)).map(fleet_of)

LABEL = st.sampled_from(["env", "line", "none"]).map(lambda k: Field(kind="label", path=k))
FACT = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(
    lambda keys: Field(kind="fact", path=".".join(keys))
)
VALUED = LABEL | FACT
NAMED = st.sampled_from([Field(kind="node"), Field(kind="group")])


def operand(text: str, quoted: bool) -> Operand:
    """As the grammar makes them: quoted alone where that changes something."""
    return Operand(text=text, quoted=quoted and read_number(text) is not None)


WRITTEN = st.sampled_from([t for t in TEXTS if "\x00" not in t] + ["4", "4.00", "9007199254740993"])
OPERANDS = st.builds(operand, WRITTEN, st.booleans())
STATES = st.sampled_from(["online", "offline"]).map(lambda t: Operand(text=t))
GROUP_OPERANDS = st.sampled_from(GROUPS).map(lambda t: Operand(text=t))


def pattern(texts: list[str]) -> st.SearchStrategy[Operand]:
    return st.sampled_from(texts).map(lambda t: Operand(text=t))


def compare(
    fields: st.SearchStrategy[Field], ops: list[str], operands: st.SearchStrategy[Operand]
) -> st.SearchStrategy[Selector]:
    return st.builds(Compare, field=fields, op=st.sampled_from(ops), operand=operands)


def one_of(
    fields: st.SearchStrategy[Field], operands: st.SearchStrategy[Operand]
) -> st.SearchStrategy[Selector]:
    some = st.lists(operands, min_size=1, max_size=3).map(tuple)
    return st.builds(OneOf, field=fields, operands=some)


NODE, GROUP, STATE = (st.just(Field(kind=kind)) for kind in ("node", "group", "state"))

TERMS: st.SearchStrategy[Selector] = st.one_of(
    st.just(Everything()),
    st.builds(InGroup, path=st.sampled_from(GROUPS), subtree=st.booleans()),
    st.builds(Has, field=VALUED),
    compare(VALUED, ["=", "!=", "<", "<=", ">", ">="], OPERANDS),
    compare(VALUED | NAMED, ["~"], pattern(GLOBS)),
    compare(VALUED | NAMED, ["=~"], pattern(REGEXES)),
    compare(VALUED, ["within"], pattern(SUBNETS)),
    compare(NODE, ["=", "!="], OPERANDS),
    compare(GROUP, ["=", "!="], GROUP_OPERANDS),
    compare(STATE, ["=", "!="], STATES),
    one_of(VALUED | NODE, OPERANDS),
    one_of(GROUP, GROUP_OPERANDS),
    one_of(STATE, STATES),
)
SELECTORS: st.SearchStrategy[Selector] = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map(lambda each: Not(inner=each)),
        st.lists(inner, min_size=2, max_size=3).map(all_of),
        st.lists(inner, min_size=2, max_size=3).map(any_of),
    ),
    max_leaves=6,
)


def store_fleet(connection: Connection, fleet: Sequence[dict[str, Any]]) -> None:
    """As the center writes nodes and their facts."""
    store.upsert(
        connection,
        [
            {
                "name": node["name"], "group_path": node["group"], "group_by": "node",
                "labels": orjson.dumps(node["labels"]), "labels_by": "node",
                "online": node["state"] == "online", "capabilities": b"{}", "queue": b"{}",
                "heartbeat_s": 30.0, "created_ms": 1, "revision": 1,
            }
            for node in fleet
        ],
    )  # fmt: skip
    found = [(node["name"], "digest", node["facts"]) for node in fleet]
    store.set_facts(connection, found, 1)


def both(
    connection: Connection, fleet: Sequence[dict[str, Any]], selector: Selector
) -> tuple[set[str], set[str]]:
    """By the database and by the predicate; nothing stays in the database."""
    with connection.begin() as transaction:
        store_fleet(connection, fleet)
        by_sql = set(find(connection, selector))
        transaction.rollback()
    return by_sql, {node["name"] for node in fleet if matches(selector, Subject.of(node))}
