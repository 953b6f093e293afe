"""docs/tasks.md and docs/api.md say what is built: fields, defaults, policies, routes, states."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from center_tasks_api.written import NOW_MS, known
from farshore_center.placement import POLICIES
from farshore_center.tasks.checking import BUILT_IN_DRIVERS, SCHEMA, accepted
from farshore_center.tasks.occurrences import LATE_S
from farshore_center.tasks.pool import NodeBooks, view
from farshore_center.tasks.routes import pool_routes, quota_routes, task_routes
from farshore_protocol.tasks import Disconnect
from farshore_protocol.tasks.settings import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "tasks.md").read_text(encoding="utf-8")
API = (DOCS / "api.md").read_text(encoding="utf-8")
NONE: tuple[Any, ...] = (None, (), {}, "")


def rows(section: str) -> dict[str, list[str]]:
    """First cell's code → all cells, of the tables of a section."""
    text = TEXT.split(f"## {section}\n")[1].split("\n## ")[0].split("\n### ")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for name in re.findall(r"`([a-z_.]+)`", cells[0]):
                found[name] = cells
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["$defs"][name] if name else schema


def test_every_field_of_a_specification_is_explained_and_no_other() -> None:
    told = rows("A task")
    assert {name.split(".")[0] for name in told} == set(SCHEMA["properties"])
    for name in ("requests", "limits"):
        below = resolved(SCHEMA["properties"][name])["properties"]
        assert {n.split(".")[1] for n in told if n.startswith(f"{name}.")} == set(below)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("affinities", "Affinity"),
        ("spread", "Spread"),
        ("reads", "Data"),
        ("restart", "Restart"),
        ("health", "HealthCheck"),
        ("artifacts", "Artifact"),
        ("env", "FromConfig"),
        ("requests.gpu", "Gpus"),
    ],
)
def test_the_parts_of_a_field_stand_in_its_row(field: str, kind: str) -> None:
    row = " ".join(rows("A task")[field])
    for part in SCHEMA["$defs"][kind]["properties"]:
        assert f"`{part}`" in row, part


def test_defaults_are_those_of_the_type() -> None:
    told = rows("A task")
    for name, schema in SCHEMA["properties"].items():
        default = schema.get("default", ...)
        if name not in told or default in (..., *NONE) or isinstance(default, dict):
            continue
        shown = told[name][1].replace("`", "").split(", ")
        assert str(default if not isinstance(default, float) else f"{default:g}") in shown, name


def test_the_contract_is_told_with_its_defaults() -> None:
    told = rows("When a node is not heard")
    contract = Disconnect()
    assert set(told) == set(Disconnect.__slots__)
    for name in told:
        value = getattr(contract, name)
        text = (
            json.dumps(value)
            if isinstance(value, bool)
            else f"{value:g}"
            if isinstance(value, float)
            else value
        )
        assert told[name][1] == f"`{text}`"  # fmt: skip


def test_drivers_policies_and_lateness_are_those_of_the_code() -> None:
    told = rows("A task")
    assert {*re.findall(r"`(\w+)`", told["driver"][2])} == BUILT_IN_DRIVERS
    assert {*re.findall(r"`(\w+)`", told["policy"][2])} == set(POLICIES)
    assert LATE_S == 300
    assert "more than five minutes\nlate" in TEXT


def test_every_setting_of_every_driver_is_explained_and_no_other() -> None:
    told: dict[str, set[str]] = {}
    driver = ""
    text = TEXT.split("### What the drivers take\n")[1].split("\n### ")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and (named := re.findall(r"`([a-z_]+)`", cells[1])):
            driver = cells[0].strip("`") or driver
            told.setdefault(driver, set()).update(named)
    assert told == {name: {field.name for field in fields(kind)} for name, kind in SETTINGS.items()}


def test_the_smallest_task_is_one() -> None:
    text = TEXT.split("```yaml\n")[1].split("```")[0]
    document = yaml.safe_load(text)
    name = document.pop("name")
    assert accepted(name, document, known(), NOW_MS).spec.driver == "process"


def test_what_the_reference_puts_is_taken() -> None:
    section = API.split("### `PUT /api/v1/tasks/{name}`\n")[1]
    body = json.loads(section.split("-d '")[1].split("'")[0])
    assert accepted("camera", body, known(), NOW_MS).spec.count == 2


def test_every_amount_of_the_pool_is_explained_and_shown() -> None:
    share = view([NodeBooks(capacity=_node())], ())["total"]
    amounts = {name for name, value in share.items() if not isinstance(value, int)}
    assert set(rows("The pool")) == amounts
    shown = json.loads(
        API.split("### `GET /api/v1/pool`\n")[1].split("```json\n")[1].split("```")[0]
    )
    assert set(shown) == set(share)


def _node() -> Any:
    from farshore_center.placement import NodeCapacity

    return NodeCapacity(node="a")


def test_every_route_stands_in_the_reference() -> None:
    nothing: Any = None
    for router in (
        task_routes(nothing, nothing, nothing),
        pool_routes(nothing),
        quota_routes(nothing),
    ):
        for route in router.routes:
            path = route.path.replace(":path}", "}")  # type: ignore[attr-defined]
            for method in route.methods:  # type: ignore[attr-defined]
                short = f"`…/{path.rsplit('/', 1)[1]}`"
                assert f"`{method} {path}`" in API or short in API, f"{method} {path}"


def test_links_of_the_pages_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for page in DOCS.glob("*.md"):
        for anchor in re.findall(
            r"(?<![-\w])tasks\.md#([a-z0-9-]+)", page.read_text(encoding="utf-8")
        ):
            assert anchor in headings, f"{page.name}: {anchor}"
