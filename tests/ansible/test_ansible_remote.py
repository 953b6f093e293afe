"""The bridge without Ansible: a real center, a real agent, files and programs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farshore_center.ansible import script
from farshore_center.ansible.calls import Commands
from farshore_center.ansible.errors import NotRunError
from farshore_center.ansible.remote import Node
from farshore_center.ansible.rest import Center

pytestmark = pytest.mark.processes

Stage = Any  # the fixture's class, see conftest.py


@pytest.fixture
def node(stage: Stage, tmp_path: Path) -> Iterator[Node]:
    commands = Commands(Center(stage.center.url), "pi-1", ttl_s=20, timeout_s=20, secret=False)
    made = Node(commands, folder=str(tmp_path / "kept"))
    yield made
    made.close()


def test_every_byte_comes_back(node: Node) -> None:
    data = bytes(range(256)) * 600
    ended = node.run("cat; echo problem >&2; exit 5", data)
    assert (ended.code, ended.stdout, ended.stderr) == (5, data, b"problem\n")


def test_a_transfer_that_broke_off_is_resumed(node: Node, stage: Stage, tmp_path: Path) -> None:
    data = os.urandom(800_000)
    (tmp_path / "image").write_bytes(data)
    part = f"{script.sha256(data)}.part"
    sent = list(script.pieces(data))[:7]
    node._send_pieces(part, iter(sent))
    before = len(stage.commands())
    node.put(tmp_path / "image", str(tmp_path / "out"))
    made = stage.commands()[before:]
    assert (tmp_path / "out").read_bytes() == data
    texts = {command["args"].get("stdin") for command in made}
    assert any(texts), "they are kept, and so they could be compared"
    assert not texts & {piece.text for piece in sent}, "what was there is not sent again"


def test_a_fetch_that_broke_off_is_resumed(node: Node, stage: Stage, tmp_path: Path) -> None:
    data = os.urandom(900_000)
    (tmp_path / "image").write_bytes(data)
    out = tmp_path / "out"
    half = 3 * 160 * 1024
    (tmp_path / f"out.{script.sha256(data)[:16]}.part").write_bytes(data[: half + 17])
    before = len(stage.commands())
    node.fetch(str(tmp_path / "image"), out)
    assert out.read_bytes() == data
    assert len(stage.commands()) - before == 4, "one look, three portions"
    assert sorted(p.name for p in tmp_path.iterdir() if "out" in p.name) == ["out"]


def test_a_fetch_of_what_can_not_be_fetched_says_why(node: Node, tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="there is no such file"):
        node.fetch(str(tmp_path / "nothing"), tmp_path / "out")
    with pytest.raises(NotRunError, match="is a directory"):
        node.fetch(str(tmp_path), tmp_path / "out")


def test_a_target_folder_that_is_not_there_is_an_error(node: Node, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(os.urandom(100_000))
    for name in ("small", "large"):
        with pytest.raises(NotRunError, match="/nowhere/x"):
            node.put(tmp_path / name, "/nowhere/x")


def test_the_same_key_makes_one_command(stage: Stage) -> None:
    center = Center(stage.center.url)
    body = {"node": "pi-1", "verb": "exec", "args": {"argv": ["true"]}, "ttl_s": 5, "timeout_s": 5}
    first, again = center.post("/commands", body, "k-1"), center.post("/commands", body, "k-1")
    assert first["id"] == again["id"]
    center.close()


def test_without_live_events_it_asks(stage: Stage, node: Node, monkeypatch: Any) -> None:
    monkeypatch.setattr(Center, "events", lambda *_: iter(()))
    assert node.run("echo hi").stdout == b"hi\n"


def test_it_needs_the_standard_library_alone() -> None:
    """Ansible's Python may be another one than the center's."""
    code = (
        "import sys, farshore_center.ansible.remote, farshore_center.ansible.fleet\n"
        "third = [m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names]\n"
        "print(sorted({m.partition('.')[0] for m in third} - {'__main__', 'farshore_center'}))"
    )
    source = Path(script.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(source)},
    )
    assert done.stdout.strip() == "[]"


def test_the_plugin_loads_in_a_python_without_the_center(tmp_path: Path) -> None:
    """And leaves the search path as it was."""
    where = "import ansible; print(ansible.__path__[0])"
    found = subprocess.run(
        [sys.executable, "-c", where], capture_output=True, text=True, check=True, cwd="/"
    )
    wanted = "ansible yaml pyyaml _yaml jinja2 markupsafe packaging cryptography cffi _cffi_backend"
    for path in Path(found.stdout.strip()).parent.iterdir():
        if path.name.lower().split("-")[0].split(".")[0] in wanted.split():
            (tmp_path / path.name).symlink_to(path)
    plugin = Path(script.__file__).parent / "connection" / "farshore.py"
    code = (
        "import importlib.util, sys\n"
        "before = list(sys.path)\n"
        f"spec = importlib.util.spec_from_file_location('farshore', {str(plugin)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.Connection.transport, sys.path == before, 'httpx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert done.stdout.strip() == "farshore True False", done.stderr
