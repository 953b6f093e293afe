"""The contract of a handler, over each of them: look, stage, apply, undo, discard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge_config.config_bench import Systemctl, tools
from edge_config.debs import Repository, has_apt
from farshore_edge.config.documents import converted
from farshore_edge.config.handlers import app, files, packages, services
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.handlers.memory import MemoryHandler
from farshore_edge.config.handlers.packages import Packages
from farshore_edge.config.handlers.plain import Plain
from farshore_edge.config.model import Change, ConfigHandler, Site
from farshore_edge.config.registry import Registry, by_entry_point
from farshore_edge.errors import ConfigurationError
from farshore_protocol.config.pointer import pointer


@dataclass(kw_only=True)
class Trial:
    """A handler, two documents that differ, and what the machine shows of them."""

    handler: ConfigHandler
    first: dict[str, Any]
    second: dict[str, Any]
    seen: Callable[[], object]
    changes: int = 2
    extra: list[object] = field(default_factory=list)

    async def plan(self, document: dict[str, Any]) -> tuple[Change, ...]:
        kind = converted(self.handler.document, self.handler.kind, document)
        site = Site(node="n1", group="eu", labels={}, facts=dict)
        return tuple(await self.handler.plan(kind, site))


def _files(folder: Path) -> Trial:
    root = folder / "root"
    root.mkdir()
    (root / "here").write_text("as it was")
    return Trial(
        handler=files.make(tools(folder)),
        first={str(root / "here"): {"content": "1"}, str(root / "d/e/new"): {"content": "1"}},
        second={str(root / "here"): {"state": "absent"}, str(root / "d/e/new"): {"template": "2"}},
        seen=lambda: {p: p.is_file() and p.read_text() for p in root.rglob("*")},
    )


def _app(folder: Path) -> Trial:
    root = folder / "root"
    root.mkdir()
    return Trial(
        handler=app.make(tools(folder)),
        first={name: {"path": str(root / name), "document": {"v": 1}} for name in "ab"},
        second={name: {"path": str(root / name), "document": {"v": 2}} for name in "ab"},
        seen=lambda: {p: p.read_text() for p in root.rglob("*")},
    )


def _services(folder: Path) -> Trial:
    systemctl = Systemctl(folder)
    return Trial(
        handler=systemctl.handler(),
        first={"a.service": {"running": True}, "b.service": {"enabled": True, "running": True}},
        second={"a.service": {"running": False}, "b.service": {"enabled": False}},
        seen=lambda: sorted(p.name for p in systemctl.state.iterdir() if p.name != "calls"),
    )


def _packages(folder: Path) -> Trial:
    repository = Repository(folder)
    return Trial(
        handler=repository.handler(),
        first={"far-one": {}, "far-two": {"version": "1.0"}},
        second={"far-one": {"state": "absent"}, "far-two": {"version": "2.0"}},
        seen=repository.installed,
    )


def _agent(_folder: Path) -> Trial:
    live: dict[str, Any] = {"batch_s": 10.0, "heartbeat_s": 30.0}
    setters = {key: (lambda value, key=key: live.update({key: value})) for key in live}
    return Trial(
        handler=AgentSettings(dict(live), setters),
        first={"batch_s": 1.0, "heartbeat_s": 2.0},
        second={"heartbeat_s": 3.0},
        seen=lambda: dict(live),
    )


def _memory(_folder: Path) -> Trial:
    handler = MemoryHandler("app")
    return Trial(
        handler=handler,
        first={name: {"path": "/x", "document": 1} for name in "ab"},
        second={name: {"path": "/x", "document": 2} for name in "ab"},
        seen=lambda: dict(handler.held),
    )


def _memory_files(_folder: Path) -> Trial:
    handler = MemoryHandler("files")
    return Trial(
        handler=handler,
        first={"/a": {"content": "1"}, "/b": {"template": "{{ node }}"}},
        second={"/a": {"state": "absent"}, "/b": {"content": "2"}},
        seen=lambda: dict(handler.held),
    )


HANDLERS = {
    "files": _files,
    "app": _app,
    "services": _services,
    "packages": _packages,
    "agent": _agent,
    "app in memory": _memory,
    "files in memory": _memory_files,
}


@pytest.fixture(params=HANDLERS)
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Trial:
    if request.param == "packages" and not has_apt():
        pytest.skip("no apt here")
    return HANDLERS[request.param](tmp_path)


async def stage(handler: ConfigHandler, changes: Sequence[Change]) -> list[Change]:
    """Staged; and as they come back from the journal, without content."""
    for change in changes:
        await handler.stage(change)
    stripped = []
    for change in changes:
        plain = {s: getattr(change, s) for s in change.__slots__ if s != "content"}
        stripped.append(Change(**orjson.loads(orjson.dumps(plain))))
    return stripped


async def bring(trial: Trial, document: dict[str, Any]) -> None:
    changes = await stage(trial.handler, await trial.plan(document))
    for change in changes:
        await trial.handler.apply(change)
    for change in changes:
        await trial.handler.discard(change, kept=True)


async def test_looking_changes_nothing_and_names_each_difference(trial: Trial) -> None:
    before = trial.seen()
    changes = await trial.plan(trial.first)
    assert trial.seen() == before
    assert len(changes) == trial.changes
    for change in changes:
        assert change.document == trial.handler.document
        assert change.path.startswith(f"/{change.document}/")
        assert change.expected != change.found


async def test_staged_and_discarded_leaves_nothing(trial: Trial) -> None:
    before = trial.seen()
    for change in await stage(trial.handler, await trial.plan(trial.first)):
        await trial.handler.discard(change, kept=False)
    assert trial.seen() == before


async def test_what_was_applied_is_no_difference_any_more(trial: Trial) -> None:
    before = trial.seen()
    await bring(trial, trial.first)
    after = trial.seen()
    assert after != before
    assert await trial.plan(trial.first) == ()
    await bring(trial, trial.second)
    assert trial.seen() != after
    assert await trial.plan(trial.second) == ()


async def test_undone_is_as_it_was_by_the_journal_alone_and_as_often_as_one_likes(
    trial: Trial,
) -> None:
    await bring(trial, trial.first)
    before = trial.seen()
    changes = await stage(trial.handler, await trial.plan(trial.second))
    for change in changes:
        await trial.handler.apply(change)
    assert trial.seen() != before
    for _ in range(2):
        for change in reversed(changes):
            await trial.handler.undo(change)
    for change in changes:
        await trial.handler.discard(change, kept=False)
    assert trial.seen() == before


async def test_undone_half_way_is_as_it_was(trial: Trial) -> None:
    before = trial.seen()
    changes = await stage(trial.handler, await trial.plan(trial.first))
    await trial.handler.apply(changes[0])
    for change in reversed(changes):
        await trial.handler.undo(change)
    for _ in range(2):
        for change in changes:
            await trial.handler.discard(change, kept=False)
    assert trial.seen() == before


# Each by itself


async def test_a_unit_is_restarted_after_what_it_depends_on_has_changed(tmp_path: Path) -> None:
    systemctl = Systemctl(tmp_path)
    handler = systemctl.handler()
    document = converted(
        "services", handler.kind, {"a.service": {"running": True, "restart_on": ["/etc/a"]}}
    )
    site = Site(node="n1", group="", labels={}, facts=dict, changed={"/etc/a"})
    [start] = await handler.plan(document, site)
    await handler.apply(start)
    [restart] = await handler.plan(document, site)
    assert restart.late
    await handler.apply(restart)
    assert systemctl.calls()[-2:] == ["daemon-reload", "restart -- a.service"]
    other = Site(node="n1", group="", labels={}, facts=dict, changed={"/etc/b"})
    assert await handler.plan(document, other) == []


async def test_a_unit_that_does_not_start_is_said_with_its_words(tmp_path: Path) -> None:
    handler = Systemctl(tmp_path).handler()
    document = converted("services", handler.kind, {"broken.service": {"running": True}})
    site = Site(node="n1", group="", labels={}, facts=dict)
    [change] = await handler.plan(document, site)
    with pytest.raises(ConfigurationError, match="it is broken") as caught:
        await handler.apply(change)
    assert caught.value.code == "service_failed"


async def test_without_a_running_systemd_units_are_unsupported() -> None:
    if services.booted():
        pytest.skip("systemd runs here")
    handler = services.make(tools(Path("/nowhere")))
    document = converted("services", handler.kind, {"a.service": {"running": True}})
    with pytest.raises(ConfigurationError) as caught:
        await handler.plan(document, Site(node="n1", group="", labels={}, facts=dict))
    assert caught.value.code == "unsupported"


async def test_the_packages_of_this_machine_are_known() -> None:
    if not has_apt():
        pytest.skip("no dpkg here")
    handler = packages.make(tools(Path("/nowhere")))
    wanted = {"dpkg": {}, "no-such-package-here": {"state": "absent"}, "apt": {"version": "0.1"}}
    document = converted("packages", handler.kind, wanted)
    [change] = await handler.plan(document, Site(node="n1", group="", labels={}, facts=dict))
    assert (change.name, change.expected) == ("apt", "present 0.1")
    assert change.found.startswith("present ")


async def test_without_dpkg_packages_are_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    handler = Packages(tools(tmp_path))
    document = converted("packages", handler.kind, {"vim": {}})
    with pytest.raises(ConfigurationError) as caught:
        await handler.plan(document, Site(node="n1", group="", labels={}, facts=dict))
    assert caught.value.code == "unsupported"


def test_every_own_handler_is_an_entry_point() -> None:
    text = (Path(__file__).parents[2] / "edge" / "pyproject.toml").read_text()
    for document in ("app", "files", "packages", "services"):
        assert f'{document} = "farshore_edge.config.handlers.{document}:make"' in text


def test_a_foreign_handler_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lamps-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[farshore.config_handlers]\nlamps = lamps:make\nbroken = lamps:nothing\n"
    )
    (tmp_path / "lamps.py").write_text(
        "from farshore_edge.config.handlers.plain import Plain\n"
        "class Lamps(Plain):\n"
        "    def __init__(self):\n"
        "        self.document, self.kind = 'lamps', dict[str, bool]\n"
        "def make(tools):\n"
        "    return Lamps()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry((), by_entry_point(tools(tmp_path)))
    read = registry.read({"lamps": {"hall": True}})
    assert [document for _, document in read.parts] == [{"hall": True}]
    with pytest.raises(ConfigurationError) as caught:
        registry.read({"lamps": {"hall": "yes"}})
    assert caught.value.path == pointer(("lamps", "hall"))
    with pytest.raises(ConfigurationError) as caught:
        registry.read({"broken": {}})
    assert caught.value.code == "bad_handler"


async def test_a_handler_that_breaks_breaks_its_configuration_alone(tmp_path: Path) -> None:
    class Broken(Plain):
        async def plan(self, document: Any, site: Site) -> Sequence[Change]:
            return [document.no_such_thing]

    handler = Registry([Broken("health")], by_entry_point(tools(tmp_path))).handler("health")
    assert handler is not None
    with pytest.raises(ConfigurationError, match="no_such_thing") as caught:
        await handler.plan({}, Site(node="n1", group="", labels={}, facts=dict))
    assert (caught.value.code, caught.value.path) == ("broken", "/health")


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("services", {"a.service": {"running": True}}),
        ("packages", {"vim": {}}),
        ("app", {"a": {"path": "ROOT/a", "on_change": {"command": ["true"]}}}),
        (
            "app",
            {"a": {"path": "ROOT/a", "on_change": {"signal": "SIGHUP", "pid_file": "/run/a"}}},
        ),
        ("health", {"a": {"command": ["true"]}}),
    ],
)
async def test_no_program_is_run_where_the_node_does_not_allow_it(
    tmp_path: Path, document: str, value: dict[str, Any]
) -> None:
    made = replace(tools(tmp_path), may_run=False)
    (tmp_path / "root").mkdir()
    makers = {"services": services.make, "packages": packages.make, "app": app.make}
    handler = makers[document](made) if document in makers else Plain(document, made)
    text = orjson.dumps(value).decode().replace("ROOT", str(tmp_path / "root"))
    wanted = converted(document, handler.kind, orjson.loads(text))
    with pytest.raises(ConfigurationError, match="config_programs") as caught:
        await handler.plan(wanted, Site(node="n1", group="", labels={}, facts=dict))
    assert caught.value.code == "not_permitted"
    assert caught.value.path.startswith(f"/{document}")
