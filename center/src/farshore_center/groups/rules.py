"""What must be true of a change of the tree or of an overlay. Pure: raises Problem, changes nothing."""

import difflib
import re
from collections.abc import Iterable

from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import MAX_GROUP_DEPTH, check_name, check_tree_group

from farshore_center.api.problems import Problem
from farshore_center.groups.overlay import Overlay
from farshore_center.groups.selection import selector_problem
from farshore_center.groups.tree import GroupTree, in_subtree, parent_of
from farshore_center.selectors import SelectorError, fields, overlays, parse, render

_STATE = re.compile(r"(?<![\w.:-])state(?![\w.:-])")

NOT_VALID = "The request is not valid"
MAX_DESCRIPTION = 1024
MAX_PRIORITY = 1_000_000
OF_JOBS = "job-"
"""How the layers of jobs are named among the overlays."""


def check_path(path: str, field: str = "path") -> str:
    """A path that a group other than the root can have."""
    try:
        if path == "":
            raise _bad(field, "the root is always there, and stays", "a path such as eu/hamburg")
        return check_tree_group(path)
    except RemoteProtocolError as exc:
        raise _bad(field, exc.detail) from exc


def check_known(tree: GroupTree, path: str, *, field: str, remedy: str) -> None:
    """That the group exists; else the nearest names."""
    if path in tree:
        return
    near = difflib.get_close_matches(path, tree.paths(), n=2, cutoff=0.7)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise _bad(field, f"there is no group {path!a}{hint}", remedy)


def check_parent(tree: GroupTree, path: str, *, field: str) -> None:
    parent = parent_of(path)
    if parent not in tree:
        remedy = f"a group in one that exists; parents=true (--parents) makes {parent} too"
        check_known(tree, parent, field=field, remedy=remedy)


def check_move(tree: GroupTree, path: str, to: str) -> None:
    check_path(to, "to")
    if to == path:
        raise _bad("to", f"{path} is there already", "another path")
    if in_subtree(to, path):
        raise _bad("to", f"{to} lies in {path}: a cycle", f"a path outside of {path}")
    if to in tree:
        raise Problem(
            status=409,
            title="The group exists",
            field="to",
            detail=f"there is a group {to}; groups are not merged",
            expected="a path that is free",
        )
    deepest = max(group.path.count("/") for group in tree.subtree(path)) - path.count("/")
    levels = to.count("/") + 1 + deepest
    if levels > MAX_GROUP_DEPTH:
        raise _bad("to", f"the subtree would reach {levels} levels", f"{MAX_GROUP_DEPTH} or fewer")


def check_empty(path: str, *, nodes: int, groups: int) -> None:
    if nodes or groups:
        held = [f"{nodes} nodes"] * bool(nodes) + [f"{groups} groups"] * bool(groups)
        raise Problem(
            status=409,
            title="The group is not empty",
            field="path",
            detail=f"{path} holds {' and '.join(held)}",
            expected="a group without nodes and groups",
        )


def check_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION or "\x00" in text:
        raise _bad(
            "description",
            f"{len(text)} characters" if "\x00" not in text else "holds the character 0",
            f"{MAX_DESCRIPTION} characters or fewer",
        )
    return text


def check_match(what: str, revision: int | None, if_match: str | None) -> None:
    """``revision`` is None for what does not exist."""
    if if_match is None:
        return
    tag = None if revision is None else etag(revision)
    if tag is None or if_match not in ("*", tag):
        raise Problem(
            status=412,
            title="Somebody changed it meanwhile",
            field="If-Match",
            detail=f"{what} is at {tag}, the request was made for {if_match}"
            if tag
            else f"{what} does not exist",
            expected="the ETag of a new GET",
        )


def check_free(tree: GroupTree, path: str) -> None:
    """For who asked for a new one."""
    if path in tree:
        raise Problem(
            status=412,
            title="The group exists",
            field="If-None-Match",
            detail=f"there is a group {path}",
            expected="a path that is free",
        )


def etag(revision: int) -> str:
    return f'"{revision}"'


def check_overlay_name(name: str) -> str:
    if name.startswith(OF_JOBS):
        raise _bad("name", f"{name[:64]!a}: such names are those of jobs", "another name")
    try:
        return check_name(name, "overlay")
    except RemoteProtocolError as exc:
        raise _bad("name", exc.detail) from exc


def check_overlay_selector(text: str) -> str:
    """Its canonical text. An overlay decides about configuration: it must not flap with a link."""
    try:
        selector = parse(text)
        if overlays(selector):
            raise SelectorError(
                "an overlay can't use another one",
                at=text.find("overlay:"),
                expected="what that one says",
            )
        if "state" in fields(selector):
            raise SelectorError(
                "an overlay can't depend on the state of a node",
                at=found.start() if (found := _STATE.search(text)) else 0,
                expected="what stays while a link comes and goes: labels, facts, groups, names",
            )
    except SelectorError as exc:
        exc.text = text
        raise selector_problem(exc) from exc
    return render(selector)


def check_priority(name: str, priority: int, others: Iterable[Overlay]) -> None:
    if not 0 <= priority <= MAX_PRIORITY:
        raise _bad("priority", str(priority), f"0 to {MAX_PRIORITY}")
    for other in others:
        if other.priority == priority and other.name != name:
            raise Problem(
                status=409,
                title="The priority is taken",
                field="priority",
                detail=f"the overlay {other.name} has priority {priority}",
                expected="a priority of its own",
            )


def _bad(field: str, detail: str, expected: str = "") -> Problem:
    return Problem(status=422, title=NOT_VALID, field=field, detail=detail, expected=expected)
