"""Nodes as Ansible sees them: groups, their names, and the variables of each host. Pure.

A group of the tree is a group, its parents have it as a child; each label is a group, and so are
``online`` and ``offline``. Ansible's names take letters, digits and ``_`` alone, so two of ours may
come to the same name: then each gets a mark of its own, made from what it is, and the bare name is
nobody's. A playbook never runs on other nodes than it did because somebody has made a group.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

CONNECTION = "farshore"
STATES = ("online", "offline")
_RESERVED = frozenset({"all", "ungrouped", "_meta", *STATES})
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_]")
_MARK_CHARS = 6
_TEMPLATE = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """What a group stands for: a path of the tree, or a label."""

    kind: str
    what: str

    @property
    def plain(self) -> str:
        """Its name where nothing else comes to the same one."""
        prefix = "label_" if self.kind == "label" else ""
        name = prefix + _FORBIDDEN.sub("_", self.what.replace("=", "_", 1))
        return f"_{name}" if name[:1].isdigit() or not name else name

    @property
    def shown(self) -> str:
        return f"{self.kind} {self.what}"


def names(keys: Iterable[Key]) -> dict[Key, str]:
    """A valid name for each, no two alike."""
    found = sorted(set(keys))
    chosen = {key: key.plain for key in found}
    length = _MARK_CHARS
    while True:
        counts = Counter(chosen.values())
        clashing = [k for k, name in chosen.items() if counts[name] > 1 or name in _RESERVED]
        if not clashing:
            return chosen
        for key in clashing:
            digest = hashlib.sha256(f"{key.kind}:{key.what}".encode()).hexdigest()
            chosen[key] = f"{key.plain}_{digest[:length]}"
        length += 1


def lineage(path: str) -> list[str]:
    """``eu/hamburg`` → ``eu``, ``eu/hamburg``."""
    segments = path.split("/") if path else []
    return ["/".join(segments[: n + 1]) for n in range(len(segments))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``nodes`` are to be shown. ``everyone`` (of whom no facts are needed) and ``paths``, the
    groups of the tree, decide on names: a group is called the same whatever is selected.
    """

    nodes: Sequence[Document]
    everyone: Sequence[Document]
    paths: Sequence[str] = ()
    whole: bool = True
    """Groups without a node are shown too."""

    def names(self) -> dict[Key, str]:
        keys = {key for node in (*self.nodes, *self.everyone) for key in _keys_of(node)}
        return names(
            keys | {Key(kind="group", what=p) for path in self.paths for p in lineage(path)}
        )

    def clashes(self) -> dict[str, list[str]]:
        """For each name that more than one group would have: who, and what each is called."""
        found: dict[str, list[str]] = {}
        for key, name in sorted(self.names().items()):
            if name != key.plain:
                found.setdefault(key.plain, []).append(f"{key.shown} is {name}")
        return found


def inventory(fleet: Fleet, url: str = "") -> Document:
    """What ``--list`` prints."""
    members: dict[Key, list[str]] = {}
    states: dict[str, list[str]] = {state: [] for state in STATES}
    for node in fleet.nodes:
        for key in _keys_of(node):
            members.setdefault(key, [])
        for key in _own_keys_of(node):
            members[key].append(node["name"])
        states["online" if node["state"] == "online" else "offline"].append(node["name"])
    named = fleet.names()
    shown = sorted(named if fleet.whole else members, key=lambda key: named[key])
    document: Document = {"_meta": {"hostvars": {n["name"]: variables(n) for n in fleet.nodes}}}
    for key in shown:
        document[named[key]] = {"hosts": sorted(members.get(key, []))}
    for key in shown:
        if _is_child(key):
            parent = document[named[Key(kind="group", what=_parent(key.what))]]
            parent.setdefault("children", []).append(named[key])
    document |= {state: {"hosts": sorted(hosts)} for state, hosts in states.items()}
    tops = [named[key] for key in shown if not _is_child(key)]
    document["ungrouped"] = {"hosts": sorted(n["name"] for n in fleet.nodes if not n.get("group"))}
    document["all"] = {"children": sorted([*tops, *STATES, "ungrouped"])}
    if url and "@" not in url:  # a password in an address is for the environment alone
        document["all"]["vars"] = {"farshore_url": url}
    return document


def variables(node: Mapping[str, Any]) -> Document:
    """What ``--host`` prints."""
    return {
        "ansible_connection": CONNECTION,
        "farshore_facts": guarded(node.get("facts") or {}),
        "farshore_group": node.get("group") or "",
        "farshore_labels": guarded(node.get("labels") or {}),
        "farshore_state": node["state"],
    }


def guarded(value: Any) -> Any:
    """Text that Ansible would run as a template is marked: a node must not run code over there."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value} if _TEMPLATE.search(value) else value
    if isinstance(value, Mapping):
        return {str(name): guarded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [guarded(each) for each in value]
    return value


def _own_keys_of(node: Mapping[str, Any]) -> list[Key]:
    """Groups that it is in by itself."""
    labels = node.get("labels") or {}
    found = [Key(kind="label", what=f"{name}={text}") for name, text in labels.items()]
    return [*found, Key(kind="group", what=node["group"])] if node.get("group") else found


def _keys_of(node: Mapping[str, Any]) -> list[Key]:
    """… and their parents."""
    parents = [Key(kind="group", what=path) for path in lineage(node.get("group") or "")]
    return [*parents, *_own_keys_of(node)]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _is_child(key: Key) -> bool:
    return key.kind == "group" and bool(_parent(key.what))
