"""docs/configuration.md says what is built: states, events, limits, formats, routes."""

import re
from pathlib import Path

import farshore_center.config
from center_config.config_page import PAGE, page
from farshore_center.config.checks import BUILT_IN
from farshore_center.config.lifecycle import DESIRED_CONFIG
from farshore_center.config.routes import config_routes
from farshore_center.config.schema import FORMATS, MAX_STEPS
from farshore_center.config.settings import ConfigSettings
from farshore_protocol.config.lifecycle import REPORTED

TEXT = PAGE.read_text(encoding="utf-8")


def rows(heading: str) -> set[str]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1])
    }


def test_the_diagram_is_the_table() -> None:
    assert page(TEXT) == TEXT


def test_every_state_and_every_event_is_explained() -> None:
    assert set(DESIRED_CONFIG.states) <= rows("States")
    folder = Path(farshore_center.config.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    kinds = set(re.findall(r'"(config\.[a-z_]+)"', code)) | {f"config.{s}" for s in REPORTED}
    assert kinds == {name for name in rows("States") if name.startswith("config.")}


def test_what_is_said_of_documents_formats_and_bounds_is_so() -> None:
    for name in [*BUILT_IN, *FORMATS.checkers]:
        assert f"`{name}`" in TEXT
    assert f"{MAX_STEPS:,} steps" in TEXT
    settings = ConfigSettings()
    assert (settings.pace.pause_ms(1), settings.pace.pause_ms(99)) == (30_000, 600_000)


def test_every_route_stands_in_the_reference_of_the_api() -> None:
    reference = (PAGE.parent / "api.md").read_text(encoding="utf-8")
    router = config_routes(None)  # type: ignore[arg-type] # its routes are not asked anything
    for route in router.routes:
        path = re.sub(r"\{name:path\}", "{document}", route.path)  # type: ignore[attr-defined]
        path = path.replace("{layer:path}", "{layer}")
        for method in route.methods:  # type: ignore[attr-defined]
            assert f"`{method} {path}`" in reference, f"{method} {path}"
