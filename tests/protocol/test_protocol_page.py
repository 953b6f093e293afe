"""docs/protocol.md describes what is built: every topic and every field of every message."""

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path
from typing import get_args

import farshore_protocol
import pytest
from farshore_protocol import PROTOCOL
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.messages import UNKNOWN_NODE, Envelope
from farshore_protocol.names import NAME
from farshore_protocol.stream import STREAMS, SenderSettings
from farshore_protocol.stream.model import MAX_RANGES
from farshore_protocol.topics import CenterState, DownKind, GroupCommand, UpKind

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

# message → the heading under which its fields stand
SECTIONS = {
    "LogLines": "Live log",
    "LogRenewal": "Live log",
    "Presence": "Presence",
    "Birth": "Birth",
    "Capabilities": "Birth",
    "StreamHead": "Birth",
    "Heartbeat": "Heartbeat",
    "Queue": "Heartbeat",
    "TimeRequest": "Time exchange",
    "TimeAnswer": "Time exchange",
    "Probe": "Probe",
    "ProbeAnswer": "Probe",
    "Envelope": "Envelope",
    "Event": "Event",
    "LinkMeasured": "Event",
    "FactsReport": "Facts",
    "TelemetryBatch": "Telemetry batch",
    "Command": "Command",
    "CommandReport": "Command report",
    "ByHand": "Command report",
    "Output": "Command report",
    "CommandError": "Command report",
    "DesiredConfig": "Desired configuration",
    "ConfigReport": "Configuration report",
    "ConfigError": "Configuration report",
    "Difference": "Configuration report",
    "Override": "Configuration report",
    "StreamAck": "Acknowledgement",
    "ErrorMessage": "Error",
    "CenterStateMessage": "Center state",
}
ROOMS = ("messages", "commands.messages", "config.messages", "stream.model", "telemetry.batch")


def messages() -> dict[str, type]:
    """Every dataclass in the modules that hold wire types."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(farshore_protocol.__path__, "farshore_protocol."):
        room = module.name.removeprefix("farshore_protocol.")
        if room.startswith(ROOMS):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, type) and dataclasses.is_dataclass(value):
                    found[name] = value
    return found


def section(heading: str) -> str:
    match = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    assert match, f"no section {heading}"
    return match[1]


def test_every_message_has_its_section() -> None:
    assert set(messages()) == set(SECTIONS)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_field_stands_in_its_section(name: str) -> None:
    kind = messages()[name]
    own = {field.name for field in dataclasses.fields(kind)}
    if kind is not Envelope and issubclass(kind, Envelope):
        assert "envelope" in section(SECTIONS[name]).lower()
        own -= {field.name for field in dataclasses.fields(Envelope)}
    text = section(SECTIONS[name])
    missing = {field for field in own if not re.search(rf"[`\"{{,]{field}[`\"\[]", text)}
    assert not missing


@pytest.mark.parametrize("kind", get_args(UpKind))
def test_every_topic_that_a_node_writes_stands_there(kind: str) -> None:
    table = PAGE.partition("## Topics a node writes")[2].partition("## Topics a node reads")[0]
    assert re.search(rf"^\| `{kind}(/<[a-z ]+>)?`", table, re.MULTILINE)


@pytest.mark.parametrize(
    "topic",
    [f"fs1/down/<node>/{kind}" for kind in get_args(DownKind)]
    + ["fs1/down/<node>/file/<digest>/<n>", "fs1/group/<path>/cmd/<verb>", CenterState().build()],
)
def test_every_topic_that_a_node_reads_stands_there(topic: str) -> None:
    table = PAGE.partition("## Topics a node reads")[2].partition("## Messages")[0]
    assert f"| `{topic}" in table


def test_the_numbers_are_those_of_the_code() -> None:
    sender = SenderSettings()
    for text in (
        f"protocol, version {PROTOCOL}",
        f"`{NAME}`",
        f"{MAX_MESSAGE_BYTES:,} bytes",
        f"At most {MAX_RANGES} ranges",
        f"At most {sender.window} records",
        f"({sender.backlog_share})",
        f"reason `{UNKNOWN_NODE}`",
        f"within {sender.ack_timeout_s:g} s",
        f"up to {sender.ack_timeout_max_s:g} s",
        ", ".join(f"`{stream}`" for stream in STREAMS),
        GroupCommand(group="all", verb="v").build().replace("/v", "/<verb>"),
    ):
        assert text in PAGE
