"""A configuration comes whole or not at all, and the node says which one runs."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, desired, host_parts
from farshore_edge.config.simulated import simulated_config
from farshore_edge.config.store import FileStore, MemoryStore
from farshore_protocol.config.digest import digest
from farshore_protocol.config.documents import DOCUMENTS


@pytest.fixture
async def benches() -> AsyncIterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        await bench.stop()


@pytest.fixture
def start(benches: list[Bench], tmp_path: Path) -> Callable[[], Bench]:
    def make() -> Bench:
        bench = Bench(host_parts(tmp_path))
        benches.append(bench)
        return bench

    return make


def file(path: Path, **entry: Any) -> dict[str, Any]:
    return {"files": {str(path): entry}}


def tree(folder: Path) -> dict[str, str]:
    """Every file below, by path and content."""
    return {
        str(p.relative_to(folder)): p.read_text() if p.is_file() else "/"
        for p in sorted(folder.rglob("*"))
    }


async def test_files_app_and_agent_are_applied_together(
    start: Callable[[], Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    config = {
        "agent": {"sample_interval_s": 0.5},
        "files": {
            str(root / "a" / "b.conf"): {"content": "hello\n", "mode": "0600"},
            str(root / "t.conf"): {
                "template": "{{ node }} {{ group }} {{ labels.site }} {{ facts.cpu.cores }}\n"
            },
        },
        "app": {"cam": {"path": str(root / "cam.json"), "document": {"fps": 25}}},
    }
    bench.take(1, config, group="eu/hamburg", labels={"site": "dock"})
    report = await bench.reported(1, "applied")
    assert tree(root) == {
        "a": "/",
        "a/b.conf": "hello\n",
        "t.conf": "pi-17 eu/hamburg dock 4\n",
        "cam.json": '{\n  "fps": 25\n}\n',
    }
    assert stat.S_IMODE((root / "a/b.conf").stat().st_mode) == 0o600
    assert bench.live["sample_interval_s"] == 0.5
    assert report["running"] == report["effective"] == report["digest"] == digest(config)
    assert (report["running_rev"], report["differences"], report["error"]) == (1, [], None)
    assert bench.service.revisions() == {"config": 1}
    assert bench.moves == 1


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a document without a handler": ({"magic": {}}, "no_handler", "/magic"),
    "an unknown field": ({"agent": {"sample_s": 1}}, "unknown_field", "/agent/sample_s"),
    "an unknown field of an entry": (
        {"files": {"ROOT/x": {"content": "", "modus": "1"}}},
        "unknown_field",
        "/modus",
    ),
    "a value of another type": (
        {"agent": {"heartbeat_s": "often"}},
        "bad_document",
        "/agent/heartbeat_s",
    ),
    "a value out of range": ({"agent": {"heartbeat_s": 0}}, "bad_document", "/agent/heartbeat_s"),
    "a bad mode": ({"files": {"ROOT/x": {"content": "", "mode": "rw"}}}, "bad_document", "mode"),
    "content and template": (
        {"files": {"ROOT/x": {"content": "", "template": ""}}},
        "bad_document",
        "/files/",
    ),
    "a relative path": ({"files": {"x": {"content": ""}}}, "bad_document", "/files/x"),
    "a path with dots": (
        {"files": {"ROOT/../x": {"content": ""}}},
        "bad_path",
        "/files/",
    ),
    "a path outside": ({"files": {"/etc/far": {"content": ""}}}, "outside_roots", "/files/~1etc"),
    "a link that leads outside": (
        {"files": {"ROOT/link/x": {"content": ""}}},
        "outside_roots",
        "/files/",
    ),
    "a folder in the file's place": (
        {"files": {"ROOT/folder": {"content": ""}}},
        "not_a_file",
        "/files/",
    ),
    "a link in the file's place": (
        {"files": {"ROOT/link": {"content": ""}}},
        "not_a_file",
        "/files/",
    ),
    "an owner that is not known": (
        {"files": {"ROOT/x": {"content": "", "owner": "no-such-user"}}},
        "no_such_owner",
        "/files/",
    ),
    "a template with an error": (
        {"files": {"ROOT/x": {"template": "{{ node"}}},
        "bad_template",
        "/template",
    ),
    "a template that names what is not there": (
        {"files": {"ROOT/x": {"template": "{{ labels.nothing }}"}}},
        "bad_template",
        "/template",
    ),
    "a template that leaves its sandbox": (
        {"files": {"ROOT/x": {"template": "{{ ''.__class__.__mro__ }}"}}},
        "bad_template",
        "/template",
    ),
    "a template that makes much of little": (
        {"files": {"ROOT/x": {"template": "{{ 'a' * 100000000 }}"}}},
        "bad_template",
        "/template",
    ),
    "a template without end": (
        {
            "files": {
                "ROOT/x": {"template": "{% for i in range(90000) %}{{ i }} and so on{% endfor %}"}
            }
        },
        "too_large",
        "/template",
    ),
    "two entries for one file": (
        {"files": {"ROOT/x": {"content": ""}}, "app": {"a": {"path": "ROOT/x"}}},
        "conflict",
        "",
    ),
    "a check of no kind": ({"health": {"a": {}}}, "bad_document", "/health/a"),
    "a check of two kinds": (
        {"health": {"a": {"tcp": "x:1", "http": "http://x"}}},
        "bad_document",
        "/health/a",
    ),
    "a signal that there is not": (
        {"app": {"a": {"path": "ROOT/x", "on_change": {"signal": "SIGNOT", "pid_file": "/run/x"}}}},
        "bad_document",
        "/app/a/on_change/signal",
    ),
    "a unit where there is no systemd": (
        {"services": {"x.service": {"running": True}}},
        "unsupported",
        "/services",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_cant_be_is_refused_before_anything_is_written(
    start: Callable[[], Bench], tmp_path: Path, case: str
) -> None:
    bench, root = start(), tmp_path / "root"
    (root / "folder").mkdir()
    (root / "link").symlink_to(tmp_path)
    before = tree(root)
    config, code, path = CASES[case]
    config = _rooted(config, str(root))
    good = {str(root / "good"): {"content": "good"}}
    config = {**config, "files": {**good, **config.get("files", {})}}
    bench.take(1, config)
    report = await bench.reported(1, "failed")
    assert report["error"]["code"] == code, report
    assert path in report["error"]["path"]
    assert report["error"]["message"]
    assert report["running"] is None
    assert tree(root) == before


def _rooted(value: Any, root: str) -> Any:
    if isinstance(value, dict):
        return {_rooted(key, root): _rooted(each, root) for key, each in value.items()}
    return value.replace("ROOT", root) if isinstance(value, str) else value


async def test_a_failed_health_check_brings_everything_back(
    start: Callable[[], Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    (root / "old.conf").write_text("by hand\n")
    os.chmod(root / "old.conf", 0o640)
    before = tree(root)
    good = file(root / "old.conf", content="first\n")
    bench.take(1, {**good, "agent": {"heartbeat_s": 10}})
    await bench.reported(1, "applied")
    bad = {
        "files": {
            str(root / "old.conf"): {"content": "second\n", "mode": "0600"},
            str(root / "deep/er/new.conf"): {"content": "new\n"},
        },
        "agent": {"heartbeat_s": 20},
        "health": {"it": {"command": ["sh", "-c", "echo no way; exit 3"], "within_s": 0.1}},
    }
    bench.take(2, bad)
    report = await bench.reported(2, "rolled_back")
    assert (report["error"]["code"], report["error"]["path"]) == ("unhealthy", "/health/it")
    assert "no way" in report["error"]["message"]
    assert (report["running_rev"], report["running"]) == (
        1,
        digest({**good, "agent": {"heartbeat_s": 10}}),
    )
    assert tree(root) == {"old.conf": "first\n"} != before
    assert bench.live["heartbeat_s"] == 10
    assert not list((tmp_path / "agent/config/backup").iterdir())


async def test_an_apply_that_fails_half_way_brings_everything_back(
    start: Callable[[], Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    (root / "a").write_text("a")
    (root / "gone").write_text("kept")
    config = {
        "files": {str(root / "a"): {"content": "b"}, str(root / "gone"): {"state": "absent"}},
        "app": {
            "cam": {
                "path": str(root / "cam.json"),
                "document": 1,
                "on_change": {"command": ["false"]},
            }
        },
    }
    bench.take(1, config)
    report = await bench.reported(1, "failed")
    # The way back tells the program again, and that fails just so: said, not hidden.
    assert report["error"]["code"] == "rollback_failed"
    assert tree(root) == {"a": "a", "gone": "kept"}


async def test_a_configuration_that_failed_is_answered_and_not_tried_again(
    start: Callable[[], Bench], benches: list[Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    count = root / "count"
    bad = {
        "health": {"it": {"command": ["sh", "-c", f"echo x >> {count}; exit 1"], "within_s": 0.01}}
    }
    bench.take(1, bad)
    await bench.reported(1, "rolled_back")
    bench.take(1, bad)
    await eventually(lambda: len(bench.reports()) == 2)
    await bench.stop()
    again = start()
    again.take(1, bad)
    answer = await again.reported(1, "rolled_back")
    assert answer["error"] == bench.reports()[0]["error"]
    assert count.read_text() == "x\n"
    await again.service.retry()
    assert count.read_text() == "x\nx\n"
    again.take(2, {})
    await again.reported(2, "applied")


async def test_a_newer_one_takes_the_place_of_one_under_way(
    start: Callable[[], Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    slow = {
        **file(root / "slow", content="slow"),
        "health": {"it": {"command": ["false"], "within_s": 3600}},
    }
    bench.take(1, slow)
    await eventually(lambda: (root / "slow").exists())
    for rev in range(2, 6):
        bench.take(rev, file(root / "new", content=str(rev)))
    await bench.reported(5, "applied")
    assert tree(root) == {"new": "5"}
    assert [report["rev"] for report in bench.reports()] == [5]


async def test_an_older_revision_is_answered_with_what_runs(start: Callable[[], Bench]) -> None:
    bench = start()
    bench.take(5, {"agent": {"heartbeat_s": 10}})
    await bench.reported(5, "applied")
    bench.take(4, {"agent": {"heartbeat_s": 20}})
    await eventually(lambda: len(bench.reports()) == 2)
    assert bench.reports()[1]["rev"] == 5
    assert bench.live["heartbeat_s"] == 10
    bench.take(6, {"agent": {"heartbeat_s": 10}})
    assert (await bench.reported(6, "applied"))["running_rev"] == 6


async def test_a_wrong_digest_and_too_much_are_answered(start: Callable[[], Bench]) -> None:
    bench = start()
    other = digest({"agent": None}).encode()
    bench.service.take(desired(3, {"agent": {}}).replace(digest({"agent": {}}).encode(), other))
    assert (await bench.reported(3, "failed"))["error"]["code"] == "bad_digest"
    bench.take(4, {"app": {"a": {"path": "/x", "document": "x" * 530_000}}})
    assert (await bench.reported(4, "failed"))["error"]["code"] == "too_large"
    assert bench.service.place.group == "eu"


async def test_what_ended_with_the_agent_runs_again_without_a_center(
    start: Callable[[], Bench], tmp_path: Path
) -> None:
    bench, root = start(), tmp_path / "root"
    bench.take(1, {**file(root / "x", content="1"), "agent": {"heartbeat_s": 7}}, group="eu/x")
    await bench.reported(1, "applied")
    await bench.stop()
    (root / "x").unlink()
    again = start()
    await eventually(lambda: again.live["heartbeat_s"] == 7 and (root / "x").exists())
    assert again.service.revisions() == {"config": 1}
    assert again.service.place.group == "eu/x"
    await eventually(lambda: again.events("drift"))
    assert again.events("drift")[0]["action"] == "repaired"


async def test_a_damaged_state_is_set_aside(start: Callable[[], Bench], tmp_path: Path) -> None:
    bench = start()
    bench.take(1, {})
    await bench.reported(1, "applied")
    await bench.stop()
    (tmp_path / "agent/config/state.json").write_bytes(b'{"running": 5')
    again = start()
    assert again.service.revisions() == {}
    again.take(1, {})
    await again.reported(1, "applied")
    assert (tmp_path / "agent/config/state.json.damaged").exists()


async def test_what_no_one_names_is_forgotten(start: Callable[[], Bench], tmp_path: Path) -> None:
    bench = start()
    for rev in range(1, 5):
        bench.take(rev, {"agent": {"heartbeat_s": rev}})
        await bench.reported(rev, "applied")
    await eventually(lambda: len(list((tmp_path / "agent/config").glob("*.json"))) == 2)


async def test_a_thousand_simulated_nodes_need_no_file(benches: list[Bench]) -> None:
    made = [Bench(simulated_config()) for _ in range(200)]
    benches += made
    config = {
        "files": {"/etc/x": {"template": "{{ node }}"}},
        "app": {"cam": {"path": "/x", "document": {}}},
        "services": {"x.service": {"running": True}},
        "packages": {"vim": {}},
        "agent": {"heartbeat_s": 9},
        "health": {"it": {"command": ["false"]}},
    }
    assert set(config) | {"drift"} == set(DOCUMENTS)
    for bench in made:
        bench.take(1, config)
    await asyncio.gather(*(bench.reported(1, "applied") for bench in made))
    for bench in made:
        bench.take(2, {"files": {"/etc/x": {"template": "{{ labels.missing }}"}}})
    await asyncio.gather(*(bench.reported(2, "failed") for bench in made))
    assert all(bench.live["heartbeat_s"] == 9 for bench in made)


async def test_both_stores_keep_what_they_were_given(tmp_path: Path) -> None:
    for store in (FileStore(tmp_path / "s"), MemoryStore()):
        assert store.config("sha256:" + "0" * 64) is None
        await store.keep("sha256:" + "1" * 64, {"a": 1})
        assert store.config("sha256:" + "1" * 64) == {"a": 1}
        await store.forget_but(())
        assert store.config("sha256:" + "1" * 64) is None
        assert store.config(digest({})) == {}
