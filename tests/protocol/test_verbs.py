"""The catalogue of verbs: its page is what it says, and its schemas are complete."""

import msgspec
import pytest
from farshore_protocol.commands import VERBS
from protocol.verb_docs import PAGE, page


def test_the_page_is_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run .venv/bin/python tests/protocol/verb_docs.py"
    )


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_schemas_and_a_sentence(name: str) -> None:
    verb = VERBS[name]
    assert verb.name == name
    assert verb.summary.endswith(".")
    assert verb.timeout_s > 0
    for kind in (verb.args, verb.result):
        if kind is not None:
            schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
            assert schema["type"] == "object"
    assert verb.risk != "read" or verb.idempotent, "what changes nothing may be run again"
