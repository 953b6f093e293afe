"""``farshore inventory`` as people and Ansible call it."""

import json
from pathlib import Path
from typing import Any

import pytest
from farshore_center.cli.main import app
from typer.testing import CliRunner, Result

pytestmark = pytest.mark.processes

Stage = Any  # the fixture's class, see conftest.py
ROOT = Path(__file__).parents[2]


def farshore(stage: Stage, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", stage.center.url, "inventory", *words])


def test_the_list_has_groups_hosts_and_variables(stage: Stage) -> None:
    found = json.loads(farshore(stage, "--list").stdout)
    assert found["eu"]["children"] == ["eu_hamburg"]
    assert found["eu_hamburg"]["hosts"] == ["pi-1", "pi-2"]
    assert found["label_env_prod"]["hosts"] == ["pi-1"]
    host = found["_meta"]["hostvars"]["pi-1"]
    assert host["farshore_facts"]["python"]
    assert host == json.loads(farshore(stage, "--host", "pi-1").stdout)


def test_more_nodes_than_a_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farshore_center.cli.client.PAGE", 1)
    found = json.loads(farshore(stage, "--list").stdout)
    assert found["eu_hamburg"]["hosts"] == ["pi-1", "pi-2"]


def test_the_plugin_path_holds_the_plugin(stage: Stage) -> None:
    folder = Path(farshore(stage, "--plugin-path").stdout.strip())
    assert (folder / "farshore.py").is_file()
    assert (folder.parent / "inventory" / "farshore.py").is_file()
    assert sorted(p.name for p in folder.glob("*.py")) == ["farshore.py"], "only plugins lie there"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "give one of --list, --host NAME and --plugin-path"),
        (("--list", "--host", "pi-1"), 2, "give one of"),
        (("--host", "pi-1", "--selector", "all"), 2, "--selector belongs to --list"),
        (("--host", "nobody"), 1, "nobody"),
    ],
)
def test_bad_usage(stage: Stage, words: tuple[str, ...], code: int, text: str) -> None:
    done = farshore(stage, *words)
    assert (done.exit_code, text in done.stderr) == (code, True), done.output


def test_the_selector_is_handed_to_the_center(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from farshore_center.cli.client import CenterClient

    asked: list[dict[str, Any]] = []
    items = CenterClient.items

    async def listen(self: Any, path: str, params: Any = None) -> Any:
        asked.append({"path": path, **(params or {})})
        return await items(self, path, {k: v for k, v in (params or {}).items() if k != "selector"})

    monkeypatch.setattr(CenterClient, "items", listen)
    assert farshore(stage, "--list", "--selector", "label.env=prod").exit_code == 0
    assert {"path": "/nodes", "facts": "true", "selector": "label.env=prod"} in asked
    asked.clear()
    assert farshore(stage, "--list").exit_code == 0
    assert not any(each.get("selector") for each in asked)


def test_the_program_of_its_own_is_declared_and_is_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from farshore_center.cli.main import inventory_main as script

    declared = (ROOT / "center" / "pyproject.toml").read_text()
    assert 'farshore-inventory = "farshore_center.cli.main:inventory_main"' in declared
    monkeypatch.setenv("FARSHORE_URL", stage.center.url)
    monkeypatch.setattr("sys.argv", ["farshore-inventory", "--list"])
    with pytest.raises(SystemExit) as ended:
        script()
    assert ended.value.code == 0
    assert "pi-1" in json.loads(capsys.readouterr().out)["_meta"]["hostvars"]
