"""What the driver ``container`` asks of an engine and reads from it, without one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from farshore_edge.tasks.drivers.container.kernel_log import names, tells_of
from farshore_edge.tasks.drivers.container.output import Frames
from farshore_edge.tasks.drivers.container.owner import user_of
from farshore_edge.tasks.drivers.container.running import read_exit, read_usage
from farshore_edge.tasks.drivers.container.settings import (
    create_body,
    tagged,
)
from farshore_edge.tasks.drivers.model import Exit, Usage
from farshore_protocol.tasks.settings import ContainerSettings
from farshore_protocol.tasks.spec import Limits
from hypothesis import given
from hypothesis import strategies as st
from task_drivers.rigs import work


@pytest.mark.parametrize(
    ("asked", "image", "user"),
    [
        (None, {}, None),
        (None, {"Config": {"User": "app"}}, "app"),
        ("root", {"Config": {"User": "app"}}, None),
        ("0:0", {}, None),
        ("7:8", {}, "7:8"),
    ],
)
def test_the_task_s_word_on_the_user_comes_first(asked: str | None, image: Any, user: Any) -> None:
    assert user_of(asked, image) == user


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", "busybox:latest"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("host:5000/a/b:1", "host:5000/a/b:1"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, expected: str) -> None:
    assert tagged(image) == expected


def test_limits_processors_and_gpus_reach_the_engine(tmp_path: Path) -> None:
    made = work(
        tmp_path,
        ContainerSettings(image="a"),
        limits=Limits(cpu_cores=1.5, memory_bytes=1 << 26, pids=9),
        cpus=(2, 3),
        gpus=(1,),
    )
    body = create_body(made, "agent-1", {"Config": {"WorkingDir": "/app"}}, 12)
    host = body["HostConfig"]
    assert (host["CpuQuota"], host["CpuPeriod"]) == (150_000, 100_000)
    assert host["Memory"] == host["MemorySwap"] == 1 << 26
    assert host["PidsLimit"] == 9
    assert host["CpusetCpus"] == "2,3"
    assert host["DeviceRequests"][0]["DeviceIDs"] == ["1"]
    assert body["WorkingDir"] == "/app"


def test_what_is_the_machine_s_is_the_image_s_in_a_container(tmp_path: Path) -> None:
    made = replace(
        work(tmp_path, ContainerSettings(image="a")),
        env={"PATH": "/opt/agent", "HOME": "/x", "TZ": "CET", "RATE": "5"},
        machine_env=frozenset({"PATH", "HOME"}),
    )
    assert create_body(made, "agent-1", {}, 0)["Env"] == ["TZ=CET", "RATE=5"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": "a", "network": "wifi"}, "network"),
        ({"image": "a", "network": "host", "ports": [{"host": 80, "container": 80}]}, "ports"),
        ({"image": "a", "ports": [{"host": 0, "container": 80}]}, "ports"),
        ({"image": "a", "mounts": [{"source": "relative", "target": "/x"}]}, "mounts"),
        ({"image": "a", "pull": "sometimes"}, "pull"),
    ],
)
def test_bad_settings_are_refused_with_their_place(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(settings, ContainerSettings)


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 50))
def test_output_is_put_together_from_any_pieces(texts: list[bytes], step: int) -> None:
    wire = b"".join(b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text for text in texts)
    frames = Frames()
    found = [text for at in range(0, len(wire), step) for text in frames.feed(wire[at : at + step])]
    assert found == texts


@pytest.mark.parametrize(
    ("state", "oom", "expected"),
    [
        ({"ExitCode": 0}, False, Exit(exit_code=0)),
        ({"ExitCode": 137}, False, Exit(signal="SIGKILL")),
        ({"ExitCode": 137}, True, Exit(signal="SIGKILL", oom=True)),
        ({"ExitCode": 1, "OOMKilled": True}, False, Exit(exit_code=1, oom=True)),
        ({"ExitCode": 255}, False, Exit(exit_code=255)),
    ],
)
def test_how_a_container_ended(state: dict[str, Any], oom: bool, expected: Exit) -> None:
    assert read_exit(state, oom=oom) == expected


def test_its_use_leaves_out_what_the_kernel_could_drop() -> None:
    memory = {"usage": 100, "stats": {"inactive_file": 40}}
    stats = {"cpu_stats": {"cpu_usage": {"total_usage": 2_000_000_000}}, "memory_stats": memory}
    assert read_usage(stats) == Usage(cpu_s=2.0, memory_bytes=60)
    assert read_usage({}) is None
    assert read_usage(None) is None


def test_the_kernel_s_log_tells_of_the_container_alone(tmp_path: Path) -> None:
    id = "3185b588eeb28c3a9de824016ce6929fcd487da13407acd59148f71f7f2c52c8"
    line = f"6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod-{id},task=tail"
    assert names(line, id)
    assert not names(line, id.replace("3", "4"))
    assert not names(line.replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE"), id)
    assert not names(line, "3")
    log = tmp_path / "kmsg"
    log.write_text(line)
    assert tells_of(id, log)
    assert not tells_of(id, tmp_path / "none")
