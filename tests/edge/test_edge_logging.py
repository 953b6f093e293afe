"""Log lines are a fixed message plus fields, and nothing from the wire can forge one."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import farshore_edge
from farshore_edge.cli import VALUE_CHARS, _Fields

TAKEN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def _log_calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in Path(farshore_edge.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "log" and node.func.attr in LEVELS:
                    yield path, node


def test_no_field_collides_with_what_a_log_record_has_already() -> None:
    calls = list(_log_calls())
    assert len(calls) > 15
    for path, call in calls:
        for keyword in call.keywords:
            if keyword.arg == "extra":
                assert isinstance(keyword.value, ast.Dict), path
                keys = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
                assert len(keys) == len(keyword.value.keys), path
                assert not keys & TAKEN, f"{path}: {keys & TAKEN}"


def test_every_message_is_fixed() -> None:
    for path, call in _log_calls():
        assert len(call.args) == 1, path
        assert isinstance(call.args[0], ast.Constant), path


def test_fields_follow_the_message_on_one_line() -> None:
    record = logging.makeLogRecord(
        {"msg": "refused", "reason": "bad\n2026 INFO forged", "count": 3, "long": "x" * 5000}
    )
    line = _Fields("%(message)s").format(record)
    assert "\n" not in line
    assert line.startswith("refused reason='bad\\n2026 INFO forged' count=3 long=xxx")
    assert len(line) < VALUE_CHARS + 100
