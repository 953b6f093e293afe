"""The pages of guarantees and soaks tell the truth about files, links, options and reports."""

import json
import re
from pathlib import Path

import pytest
from farshore_sim.world.faults import KINDS

from soak.__main__ import options

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
SOAKS = ROOT / "docs" / "soak" / "README.md"


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:tests|bench|soak)/[\w/.-]+)`", PAGE.read_text()))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_promise_has_its_limits_and_a_test() -> None:
    promises = re.split(r"^## \d+\. ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert len(promises) >= 8
    for promise in promises:
        title, text = promise.split("\n", 1)
        for part in (r"\*\*.+?\*\*", r"\*Rests on\*: \S", r"\*Limits\*: \S"):
            assert re.search(part, text, re.DOTALL), f"{title}: {part}"
        assert re.search(r"\*Held by\*: `tests/", text), title


def test_every_kind_of_fault_that_a_world_makes_stands_in_the_table() -> None:
    table = PAGE.read_text().split("## Every fault, and who makes it")[1]
    named = {
        kind
        for row in re.findall(r"^\| .* \| (.+) \|$", table, re.MULTILINE)
        for kind in re.findall(r"`([a-z_]+)`", row)
    }
    assert named == {name for name, kind in KINDS.items() if not kind.load}


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [PAGE, SOAKS], ids=["guarantees", "soaks"])
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)?(?:#([^)]+))?\)", page.read_text())
    assert links
    for file, anchor in links:
        target = (page.parent / file) if file else page
        assert target.exists(), file
        if anchor:
            assert anchor in _anchors(target), f"{file}#{anchor}"


def test_every_option_stands_on_the_page_with_its_soaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    soaks = ("world", "kills", "brokers", "config", "jobs")
    found = set()
    for soak in soaks:
        with pytest.raises(SystemExit):
            options([soak, "--help"])
        named = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
        found |= {(option, soak) for option in named}
    told = set()
    for row in re.findall(r"^\| `--.*$", SOAKS.read_text(), re.MULTILINE):
        names, _, of, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        options_told = re.findall(r"^`(--[a-z-]+)", names) + re.findall(
            r"and `(--[a-z-]+)", meaning
        )
        of = ", ".join(soaks) if of == "all" else of
        told |= {(option, soak) for option in options_told for soak in of.split(", ")}
    assert told == found


@pytest.mark.parametrize("name", sorted(path.stem for path in SOAKS.parent.glob("*.json")))
def test_a_report_in_the_repository_names_no_place_and_no_violation(name: str) -> None:
    text = SOAKS.with_name(f"{name}.json").read_text()
    report = json.loads(text)
    assert report["soak"] == name
    assert f"]({name}.md)" in SOAKS.read_text()
    assert report["violations"] == []
    assert re.fullmatch("[0-9a-f]{12}", report["commit"]), "of a commit, and of nothing else"
    assert "/tmp" not in text  # noqa: S108 # that is what is looked for
    assert "/home" not in text
