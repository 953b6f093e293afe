"""What a node's effective configuration must fulfil before anybody accepts it. Pure.

The documents that the agent knows have their own schemas, made from their types, and a few rules
that a schema says badly; a person's schemas come on top, for these and for any other document. The
results are remembered by the document itself, so a document that a thousand nodes share is checked
once.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.config.documents import DOCUMENTS
from farshore_protocol.config.layers import Effective
from farshore_protocol.config.messages import MAX_CONFIG_BYTES
from farshore_protocol.config.pointer import ABSENT, step
from farshore_protocol.telemetry import pack_body

from farshore_center.config.quick import misfit
from farshore_center.config.schema import Schema, Violation, closed

BUILT_IN: Mapping[str, dict[str, Any]] = {
    name: closed(msgspec.json.schema(kind)) for name, kind in DOCUMENTS.items()
}
"""The JSON Schemas of the agent's own documents."""

ENVELOPE_BYTES = 24 * 1024
"""More than the message has around the configuration: group and labels, however many."""
APP = "app/"

Found = tuple[Violation, ...]

_BUILT_IN = {name: Schema(schema) for name, schema in BUILT_IN.items()}


class Checker:
    """``stored``: definitions by document, ``agent`` or ``app/NAME``; already found good."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._built_in = _BUILT_IN
        self._stored = {name: Schema(schema) for name, schema in stored.items()}
        self._known: dict[tuple[str, int], tuple[Any, Found]] = {}
        self._whole: dict[str, Found] = {}

    def violations(self, config: Effective) -> Found:
        found = self._whole.get(config.digest)
        if found is None:
            found = self._whole[config.digest] = self._check(config)
        return found

    def _check(self, config: Effective) -> Found:
        found: list[Violation] = list(_size(config))
        for name, document in config.config.items():
            found += self._document(name, document)
        for name in self._stored:
            if name.startswith(APP):
                found += self._app(config.config, name)
        return tuple(sorted(set(found)))

    def _document(self, name: str, document: Any) -> Found:
        return self._remembered(name, document, self._fresh)

    def _app(self, config: Mapping[str, Any], name: str) -> Found:
        app = name.removeprefix(APP)
        apps = config.get("app")
        entry = apps.get(app, ABSENT) if isinstance(apps, dict) else ABSENT
        if entry is ABSENT or not isinstance(entry, dict):
            return ()
        at = f"/app{step(app)}/document"
        return self._remembered(
            name, entry, lambda _name, each: self._stored[name].check(each.get("document"), at)
        )

    def _remembered(self, name: str, value: Any, check: Callable[[str, Any], Found]) -> Found:
        key = (name, id(value))
        known = self._known.get(key)
        if known is None:
            # The value is held, so that nothing else can get its id.
            known = self._known[key] = (value, check(name, value))
        return known[1]

    def _fresh(self, name: str, document: Any) -> Found:
        at = step(name)
        found: Found = ()
        if name in self._built_in:
            wrong = misfit(name, document)
            if wrong is not None:
                # The schema says where; what it does not see, the type has seen.
                said = self._built_in[name].check(document, at)
                found = said or (Violation(path=at, message=wrong),)
            elif name in RULES:
                found = tuple(RULES[name](document))
        if name in self._stored:
            found += self._stored[name].check(document, at)
        return found


def _size(config: Effective) -> Found:
    text = config.canonical
    if len(text) > MAX_CONFIG_BYTES:
        return (
            Violation(path="", message=f"{len(text)} bytes, expected {MAX_CONFIG_BYTES} or fewer"),
        )
    most = MAX_MESSAGE_BYTES - ENVELOPE_BYTES
    # What fits as it is fits packed.
    if len(text) > most and (packed := len(pack_body(text))) > most:
        detail = f"{packed} bytes when packed for the message to the node, expected {most} or fewer"
        return (Violation(path="", message=detail),)
    return ()


def _files(files: Any) -> list[Violation]:
    found = []
    for path, entry in files.items():
        given = [key for key in ("content", "template") if entry.get(key) is not None]
        absent = entry.get("state") == "absent"
        if (absent and given) or (not absent and len(given) != 1):
            detail = "absent: neither content nor template" if absent else _just_one(given)
            found.append(Violation(path="/files" + step(path), message=f"expected {detail}"))
    return found


def _just_one(given: list[str]) -> str:
    return f"just one of content and template, got {' and '.join(given) or 'none'}"


def _apps(apps: Any) -> list[Violation]:
    found = []
    for name, entry in apps.items():
        change = entry.get("on_change")
        if change is None:
            continue
        command, signal = change.get("command") is not None, change.get("signal") is not None
        at = f"/app{step(name)}/on_change"
        if command == signal:
            found.append(Violation(path=at, message="expected just one of command and signal"))
        elif signal and change.get("pid_file") is None:
            found.append(Violation(path=at, message="expected pid_file beside signal"))
    return found


def _health(checks: Any) -> list[Violation]:
    kinds = ("command", "http", "tcp", "fresh")
    found = []
    for name, entry in checks.items():
        at = "/health" + step(name)
        given = [key for key in kinds if entry.get(key) is not None]
        if len(given) != 1:
            detail = f"expected just one of {', '.join(kinds)}, got {' and '.join(given) or 'none'}"
            found.append(Violation(path=at, message=detail))
        elif given == ["fresh"] and entry.get("max_age_s") is None:
            found.append(Violation(path=at, message="expected max_age_s beside fresh"))
    return found


RULES: Mapping[str, Callable[[Any], list[Violation]]] = {
    "files": _files,
    "app": _apps,
    "health": _health,
}
"""What the documents' schemas do not say."""
