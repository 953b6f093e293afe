"""The pages of guarantees and soaks tell the truth about files, links, options and reports."""

import json
import re
from pathlib import Path

import pytest

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


def test_every_option_stands_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for soak in ("world", "kills", "brokers", "config", "jobs"):
        with pytest.raises(SystemExit):
            options([soak, "--help"])
        found |= set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out))
    told = set(re.findall(r"^\| `(--[a-z-]+)", SOAKS.read_text(), re.MULTILINE))
    assert told == found - {"--help"}


@pytest.mark.parametrize("name", ["kills", "brokers", "config", "jobs"])
def test_a_report_in_the_repository_names_no_place_and_no_violation(name: str) -> None:
    text = SOAKS.with_name(f"{name}.json").read_text()
    report = json.loads(text)
    assert report["soak"] == name
    assert report["violations"] == []
    assert report["commit"]
    assert "/tmp" not in text  # noqa: S108 # that is what is looked for
    assert "/home" not in text
