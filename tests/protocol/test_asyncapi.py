"""docs/asyncapi.json: it is what the code says, and it is AsyncAPI 3.0."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest
from farshore_protocol.asyncapi import CHANNELS, document
from farshore_protocol.codec import encode
from farshore_protocol.commands import VERBS, Command
from farshore_protocol.topics import DownKind, UpKind
from protocol.asyncapi_docs import PAGE, page

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has fields that hide some of pydantic's
    from asyncapi3.models import AsyncAPI3

DOCUMENT = document()


def test_the_file_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run .venv/bin/python tests/protocol/asyncapi_docs.py"
    )


def test_it_is_asyncapi() -> None:
    AsyncAPI3.model_validate(json.loads(page()))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 50
    for reference in found:
        place: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            assert name in place, reference
            place = place[name]


def test_every_topic_and_every_verb_is_there() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    for kind in get_args(UpKind):
        assert any(re.match(rf"fs1/up/{{node}}/{kind}(/|$)", a) for a in addresses), kind
    for kind in set(get_args(DownKind)) - {"cmd"}:
        assert any(re.match(rf"fs1/down/{{node}}/{kind}(/|$)", a) for a in addresses), kind
    assert {f"fs1/down/{{node}}/cmd/{verb}" for verb in VERBS} <= addresses
    assert "fs1/group/{group}/cmd/{verb}" in addresses
    assert "fs1/center" in addresses
    assert set(DOCUMENT["channels"]["group-cmd"]["messages"]) == set(VERBS)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_the_braces_of_an_address_are_its_parameters(channel: Any) -> None:
    found = DOCUMENT["channels"][channel.name]
    assert set(re.findall(r"{([a-z]+)}", channel.address)) == set(found.get("parameters", {}))


def payload_schema(message: str) -> dict[str, Any]:
    payload = DOCUMENT["components"]["messages"][message]["payload"]
    return {**payload, "components": DOCUMENT["components"]}


@pytest.mark.parametrize(
    ("args", "fits"),
    [
        ({"argv": ["uptime", "-p"]}, True),
        ({}, False),
        ({"argv": []}, False),
        ({"argv": ["uptime"], "shell": True}, False),
    ],
)
def test_a_command_can_be_checked_against_it(args: dict[str, Any], fits: bool) -> None:
    word = json.loads(encode(Command(id="c1", args=args, ttl_s=5)))
    given = {key: value for key, value in word.items() if value is not None}
    validator = jsonschema.Draft7Validator(payload_schema("exec"))
    assert validator.is_valid(given) is fits


def test_a_report_can_be_checked_against_it() -> None:
    validator = jsonschema.Draft7Validator(payload_schema("exec-report"))
    said = {
        **{"epoch": "e1", "seq": 1, "boot": "b1", "up_ms": 1, "ts": 1, "id": "c1", "at": 2},
        "verb": "exec",
        "state": "succeeded",
        "via": [["accepted", 1], ["running", 2]],
        "result": {"exit_code": 0, "signal": None},
    }
    assert validator.is_valid(said)
    assert not validator.is_valid(said | {"verb": "ping"})
    assert not validator.is_valid(said | {"via": [["accepted"]]})
