"""docs/jobs.md and docs/api.md say what is built: states, rules, routes, events."""

import re
from pathlib import Path

import farshore_center.jobs
from center_jobs.job_page import PAGE, page
from farshore_center.jobs.bodies import JobBody, RulesIn
from farshore_center.jobs.lifecycle import JOB, JOB_NODE
from farshore_center.jobs.routes import job_routes
from farshore_center.jobs.settings import JobSettings

TEXT = PAGE.read_text(encoding="utf-8")
API = (PAGE.parent / "api.md").read_text(encoding="utf-8")


def firsts(text: str) -> set[str]:
    """What stands in backticks in the first column of a table."""
    return {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1])
    }


def test_the_diagrams_are_the_tables() -> None:
    assert page(TEXT) == TEXT
    assert TEXT.count("```mermaid") == 2


def test_every_state_is_explained() -> None:
    states = TEXT.split("## States\n")[1].split("\n## ")[0]
    assert firsts(states) == {*JOB.states, *JOB_NODE.states}


def test_every_field_of_a_job_and_every_rule_stands_in_the_reference() -> None:
    section = API.split("### `POST /api/v1/jobs`\n")[1].split("\n### ")[0]
    told = {name.split(".")[0] for name in firsts(section)}
    assert told == {*JobBody.model_fields, *RulesIn.model_fields}


def test_every_route_stands_in_the_reference() -> None:
    router = job_routes(None, None)  # type: ignore[arg-type] # its routes are not asked anything
    for route in router.routes:
        path = route.path.replace("{job_id}", "{id}")  # type: ignore[attr-defined]
        for method in route.methods:  # type: ignore[attr-defined]
            short = f"`…/{path.rsplit('/', 1)[1]}`"
            assert f"`{method} {path}`" in API or short in API, f"{method} {path}"


def test_every_event_of_jobs_stands_in_the_reference() -> None:
    folder = Path(farshore_center.jobs.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    kinds = set(re.findall(r'"(job\.[a-z_]+)"', code))
    kinds.discard("job.id")  # a column
    assert kinds == {name for name in firsts(API) if name.startswith("job.")}


def test_how_late_an_occurrence_may_be_is_said() -> None:
    assert JobSettings().late_s == 300
    assert "more than five minutes late" in TEXT
