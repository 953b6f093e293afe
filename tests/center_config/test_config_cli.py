"""``farshore config`` against a real center, and the files that it reads."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from center.running import RunningCenter
from center_config.conftest import MakeConfigNode
from center_config.test_config_center import until_state
from farshore_center.cli.config_input import read_document
from farshore_center.cli.config_layer import layer_path, upon
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.main import app
from farshore_protocol.config.layers import merge
from typer.testing import CliRunner, Result


class Shell:
    def __init__(self, running: RunningCenter, folder: Path) -> None:
        self._url = running.url
        self._folder = folder

    async def __call__(self, *words: str, code: int = 0, text: str | None = None) -> Result:
        argv = ["--url", self._url, "config", *words]
        result = await asyncio.to_thread(CliRunner().invoke, app, argv, input=text)
        assert result.exit_code == code, result.output
        return result

    def file(self, name: str, text: str) -> str:
        (self._folder / name).write_text(text)
        return str(self._folder / name)


@pytest.fixture
def shell(running: RunningCenter, tmp_path: Path) -> Iterator[Shell]:
    before = structlog.get_config()
    # The center logs in this process, and must not write into what the program prints.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.__stderr__))
    yield Shell(running, tmp_path)
    structlog.configure(**before)


async def test_a_change_is_previewed_set_explained_and_rolled_back(
    running: RunningCenter, make_config_node: MakeConfigNode, shell: Shell
) -> None:
    await make_config_node("pi-1")
    await make_config_node("pi-2", group="us")
    file = shell.file("eu.yaml", "agent:\n  batch_s: 5\n  log_level: INFO\n")
    seen = await shell("preview", file, "--group", "eu")
    assert seen.stdout.splitlines() == [
        "1 node: pi-1",
        "  + /agent/batch_s  5",
        '  + /agent/log_level  "INFO"',
        "1 of 1 node would change",
    ]
    done = await shell("set", file, "--group", "eu", "-m", "shorter", "--author", "ada")
    assert done.stdout == "group:eu@1: 1 node to be told\n"
    await until_state(running, "pi-1", "applied", 1)
    more = await shell(
        "set", "-", "--group", "eu", "--merge", "--author", "bob", text='{"agent":{"batch_s":6}}'
    )
    assert "group:eu@2" in more.stdout
    await until_state(running, "pi-1", "applied", 2)
    explained = await shell("explain", "pi-1")
    assert [line.split() for line in explained.stdout.splitlines()] == [
        ["PATH", "VALUE", "FROM", "AUTHOR", "MESSAGE"],
        ["/agent/batch_s", "6", "group:eu@2", "bob", "-"],
        ["/agent/log_level", '"INFO"', "group:eu@2", "bob", "-"],
        ["applied,", "revision", "2"],
    ]
    assert json.loads((await shell("show", "pi-1")).stdout) == {
        "agent": {"batch_s": 6, "log_level": "INFO"}
    }
    listed = (await shell("revisions", "--group", "eu")).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["REV", "2", "1"]
    one = await shell("revisions", "--group", "eu", "--rev", "2")
    assert one.stdout.splitlines()[-1] == "  ~ /agent/batch_s  5 → 6"
    seen = await shell("preview", "--group", "eu", "--rev", "1")
    assert "  ~ /agent/batch_s  6 → 5" in seen.stdout
    assert "group:eu@3" in (await shell("rollback", "1", "--group", "eu")).stdout
    await until_state(running, "pi-1", "applied", 3)
    table = (await shell("status")).stdout.splitlines()
    assert table[1].split() == ["pi-1", "eu/hamburg", "applied", "3", "3", "-", "-"]
    assert table[-1] == "2 nodes: 1 applied, 1 none"
    assert "1 node: 1 none" in (await shell("status", "--state", "none")).stdout
    await shell("delete", "--group", "eu")
    await until_state(running, "pi-1", "applied", 4)


async def test_what_would_break_a_node_is_shown_before_and_refused_with_the_place(
    make_config_node: MakeConfigNode, shell: Shell
) -> None:
    await make_config_node("pi-1")
    file = shell.file("bad.json", '{"agent": {"batch_z": 5}}')
    seen = await shell("preview", file, "--defaults", code=1)
    assert "it would be refused:" in seen.stdout
    assert "  ! /agent/batch_z  there is no such field; did you mean batch_s?" in seen.stdout
    assert "      at pi-1" in seen.stdout
    refused = await shell("set", file, "--defaults", code=2)
    assert "/agent/batch_z: there is no such field" in refused.stderr


async def test_schemas_are_stored_shown_and_deleted(
    make_config_node: MakeConfigNode, shell: Shell
) -> None:
    await make_config_node("pi-1")
    file = shell.file("cam.yaml", "type: object\nrequired: [fps]\n")
    done = await shell("schema", "set", "app/cam", file, "--author", "ada")
    assert done.stdout == "schema of app/cam: revision 1\n"
    listed = (await shell("schema", "list")).stdout
    assert [line.split()[:2] for line in listed.splitlines() if "cam" in line] == [["app/cam", "1"]]
    shown = json.loads((await shell("schema", "show", "app/cam")).stdout)
    assert shown == {"type": "object", "required": ["fps"]}
    assert "batch_s" in (await shell("schema", "show", "agent")).stdout
    await shell("schema", "delete", "app/cam")
    await shell("schema", "delete", "app/cam", code=1)
    await shell("schema", "show", "../nodes", code=2)


async def test_a_wrong_command_line_is_bad_usage(shell: Shell) -> None:
    file = shell.file("a.json", "{}")
    await shell("set", file, code=2)
    await shell("set", file, "--group", "eu", "--node", "pi-1", code=2)
    await shell("set", file, "--group", "EU!", code=2)
    await shell("set", "/nowhere/a.json", "--defaults", code=2)
    await shell("preview", "--defaults", code=2)
    await shell("set", file, "--node", "pi-99", code=1)
    await shell("resolve", "pi-99", code=1)


async def test_with_json_there_is_one_document(
    running: RunningCenter, make_config_node: MakeConfigNode, shell: Shell
) -> None:
    await make_config_node("pi-1")
    file = shell.file("a.json", '{"agent": {"batch_s": 5}}')
    for words in (
        ("preview", file, "--defaults"),
        ("set", file, "--defaults"),
        ("explain", "pi-1"),
        ("show", "pi-1"),
        ("revisions", "--defaults"),
        ("revisions", "--defaults", "--rev", "1"),
        ("rollback", "1", "--defaults"),
        ("status",),
        ("schema", "list"),
        ("schema", "show", "agent"),
        ("delete", "--defaults"),
    ):
        assert isinstance(json.loads((await shell(*words, "--json")).stdout), dict)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: true\nb: null\nc: 1.5\nd: 2026-01-01\ne: 'no'\nf: [1, x]", None),
        ("{'a': 1}", "Expecting"),
        ("enabled: no", "line 1: 'no'"),
        ("a:\n  mode: 0644", "line 2: '0644'"),
        ("t: 1:30", "'1:30'"),
        ("a: 1\na: 2", "line 2: the key 'a'"),
        ("on: 1", "the key 'on'"),
        ("1: 1", "the key '1'"),
        ("a: &x [1]\nb: *x", "line 2: an alias"),
        ("a: !!python/object:os.system x", "could not determine"),
        ("a: .nan", "'.nan'"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ("a: [", "line"),
    ],
)
def test_files_are_read_as_meant_or_not_at_all(text: str, found: str | None) -> None:
    if found is None:
        assert read_document(text.encode(), "x.yaml") == {
            "a": True, "b": None, "c": 1.5, "d": "2026-01-01", "e": "no", "f": [1, "x"],
        }  # fmt: skip
        return
    with pytest.raises(BadUsageError, match=found):
        read_document(text.encode(), "x.yaml")


def test_a_merge_upon_a_layer_keeps_its_removals() -> None:
    layer: dict[str, Any] = {"agent": {"batch_s": None, "log_level": "INFO"}, "lamp": {"a": 1}}
    both = upon(layer, {"agent": {"heartbeat_s": 3}, "lamp": None})
    assert both == {"agent": {"batch_s": None, "log_level": "INFO", "heartbeat_s": 3}, "lamp": None}
    below = {"agent": {"batch_s": 9}, "lamp": {"b": 2}}
    assert merge(below, both) == {"agent": {"log_level": "INFO", "heartbeat_s": 3}}


def test_a_groups_path_is_one_step_of_the_address() -> None:
    assert layer_path("group:eu/hamburg") == "/config/group/eu~hamburg"
    assert layer_path("defaults") == "/config/defaults"


EDITOR = """\
import sys, urllib.request
path = sys.argv[-1]
text = open(path).read()
open({seen!r}, "w").write(text)
open(path, "w").write(text.replace({old!r}, {new!r}))
for url, body in {requests!r}:
    urllib.request.urlopen(urllib.request.Request(url, body.encode(), method="PUT",
        headers={{"Content-Type": "application/json"}})).close()
"""


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An editor that replaces text, and remembers what it was given."""

    def make(old: str, new: str, *requests: tuple[str, str]) -> Path:
        program, seen = tmp_path / "editor.py", tmp_path / "seen"
        program.write_text(EDITOR.format(seen=str(seen), old=old, new=new, requests=list(requests)))
        monkeypatch.setenv("VISUAL", f"{sys.executable} {program}")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)  # what it found before comes back
        return seen

    return make


def kept_in(folder: Path) -> list[Path]:
    return list(folder.glob("farshore-edit-*/*"))


async def test_a_layer_is_edited_with_the_difference_shown(
    running: RunningCenter,
    make_config_node: MakeConfigNode,
    shell: Shell,
    editor: Callable[..., Path],
    tmp_path: Path,
) -> None:
    await make_config_node("pi-1")
    await shell("set", shell.file("d.yaml", "agent:\n  batch_s: 5\n"), "--defaults")
    seen = editor("batch_s: 5", "batch_s: 7")
    told = await shell("edit", "--defaults", "--yes", "-m", "slower")
    assert seen.read_text().splitlines()[1:] == ["agent:", "  batch_s: 5"]
    assert "  ~ /agent/batch_s  5 → 7" in told.stdout.splitlines()
    assert told.stdout.splitlines()[-1] == "defaults@2: 1 node to be told"
    assert (await running.get("/config/defaults"))["patch"] == {"agent": {"batch_s": 7}}
    editor("nothing like it", "")
    assert (await shell("edit", "--defaults", "--yes")).stdout == "defaults: nothing changed\n"
    assert not kept_in(tmp_path), "nothing is left behind"
    asked = await shell("edit", "--defaults", code=2)
    assert "give --yes" in asked.stderr


@pytest.mark.parametrize(
    ("new", "words"),
    [("batch_s: [", "line"), ("batch_s: no", "use quotes"), ("batch_sek: 7", "refused")],
)
async def test_a_text_that_is_wrong_is_kept(
    running: RunningCenter, shell: Shell, editor: Callable[..., Path], new: str, words: str,
    make_config_node: MakeConfigNode, tmp_path: Path,
) -> None:  # fmt: skip
    await make_config_node("pi-1")
    await shell("set", shell.file("d.yaml", "agent:\n  batch_s: 5\n"), "--defaults")
    editor("batch_s: 5", new)
    told = await shell("edit", "--defaults", "--yes", code=1 if words == "refused" else 2)
    assert words in told.output
    (kept,) = kept_in(tmp_path)
    assert new in kept.read_text()
    assert str(kept) in told.output.replace("\n", "")
    assert (await running.get("/config/defaults"))["rev"] == 1


async def test_a_change_of_somebody_else_is_not_overwritten(
    running: RunningCenter, shell: Shell, editor: Callable[..., Path], tmp_path: Path
) -> None:
    await shell("set", shell.file("d.yaml", "agent:\n  batch_s: 5\n"), "--defaults")
    url = f"{running.url}/api/v1/config/defaults"
    editor("batch_s: 5", "batch_s: 7", (url, '{"patch": {"agent": {"batch_s": 6}}}'))
    told = await shell("edit", "--defaults", "--yes", code=1)
    assert "somebody changed defaults since revision 1" in told.stdout
    (kept,) = kept_in(tmp_path)
    assert "batch_s: 7" in kept.read_text()
    assert (await running.get("/config/defaults"))["patch"] == {"agent": {"batch_s": 6}}
