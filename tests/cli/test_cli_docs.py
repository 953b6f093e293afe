"""docs/cli.md says all that ``farshore`` can do; and ``farshore`` starts quickly."""

import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from farshore_center.cli.main import app

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("farshore"))

TREE: Any = typer.main.get_command(app)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
EVERYWHERE = {"--url", "--json", "--no-color", "--help", "-h"}


def sections() -> dict[str, str]:
    """The page's sections by their headings; what stands before the first one is ``""``."""
    parts = HEADING.split((ROOT / "docs" / "cli.md").read_text())
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def leaves(tree: Any = TREE, before: str = "") -> dict[str, Any]:
    """Every command by its words; a noun with commands of its own is none itself."""
    found: dict[str, Any] = {}
    for name, command in tree.commands.items():
        words = f"{before}{name}"
        below = getattr(command, "commands", None)
        found |= {words: command} if below is None else leaves(command, f"{words} ")
    return found


COMMANDS = leaves()


def options_of(command: Any) -> set[str]:
    outer = TREE.make_context("farshore", [], resilient_parsing=True)
    parent = None if command is TREE else outer
    context = command.make_context("command", [], parent=parent, resilient_parsing=True)
    params = command.get_params(context)
    return {
        opt for p in params if p.param_type_name == "option" for opt in (*p.opts, *p.secondary_opts)
    }


def documented(text: str) -> set[str]:
    """Options that a table's first column or running text names in backticks."""
    return {
        opt for code in re.findall(r"`([^`\n]+)`", text) for opt in code.split() if opt[0] == "-"
    }


def test_every_command_has_its_section_and_no_other() -> None:
    found = {name for name in sections() if name.startswith("`farshore ")}
    assert found == {f"`farshore {name}`" for name in COMMANDS}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_stands_in_its_commands_section(name: str) -> None:
    text = sections()[f"`farshore {name}`"]
    options = options_of(COMMANDS[name])
    rows = {re.split(r"[ ,`]", row)[0] for row in re.findall(r"^\| `(-[^|]*)", text, re.MULTILINE)}
    assert options >= EVERYWHERE
    assert options - EVERYWHERE <= documented(text)
    assert rows <= options


def test_options_of_the_program_itself_are_documented() -> None:
    assert options_of(TREE) <= documented(sections()["For every command"])


def test_defaults_are_those_of_the_program() -> None:
    for name, command in COMMANDS.items():
        for param in command.params:
            if param.param_type_name == "option" and param.default not in (None, False, [], ()):
                row = rf"\| `{param.opts[0]}[^|]*\|[^|]*Default: {param.default}\b"
                assert re.search(row, sections()[f"`farshore {name}`"]), param.opts[0]


def test_what_the_command_line_asks_for_stands_in_the_reference_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    sources = (ROOT / "center" / "src" / "farshore_center" / "cli").glob("*.py")
    code = "".join(path.read_text() for path in sources)
    asked = set(re.findall(r'\("(/[a-z]+)"', code)) | {
        re.sub(r"\{segment\(\w+\)\}", "{}", path)
        for path in re.findall(r'f"(/[a-z]+/\{segment[^"]*)"', code)
    }
    routes = {
        re.sub(r"\{\w+\}", "{}", p) for p in re.findall(r"^### `\w+ /api/v1(\S+)`", page, re.M)
    }
    assert len(asked) >= 9
    assert asked <= routes


def shown_commands() -> list[str]:
    """Every ``$ farshore …`` of the pages, but those inside other commands."""
    lines = [
        line.removeprefix("$ ")
        for page in sorted((ROOT / "docs").glob("*.md"))
        for line in page.read_text().replace("\\\n", " ").splitlines()
        if line.startswith("$ farshore ")
    ]
    return sorted({line.split(" | ")[0].split(" > ")[0] for line in lines})


@pytest.mark.parametrize("line", shown_commands())
def test_what_a_page_shows_can_be_typed(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    while words and words[0] in ("--json", "--no-color", "--url"):
        words = words[2 if words[0] == "--url" else 1 :]
    if not words or words[0].startswith("--"):
        return
    group = TREE.commands[words[0]]
    if hasattr(group, "completed"):
        words = [words[0], *group.completed(words[1:])]
    number = next(n for n in (3, 2, 1) if " ".join(words[:n]) in COMMANDS)
    outer = TREE.make_context("farshore", [], resilient_parsing=True)
    name = " ".join(words[:number])
    COMMANDS[name].make_context(name, words[number:], parent=outer)


@pytest.mark.processes
def test_help_is_there_within_half_a_second() -> None:
    """The best of three, in the program's own processor time: a busy machine is not its fault."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PROGRAM, "--help"], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) <= 0.5


@pytest.mark.processes
def test_the_program_starts_without_what_it_may_not_need() -> None:
    heavy = ["httpx", "rich", "tenacity", "fastapi", "sqlmodel", "pydantic", "numpy", "msgspec"]
    code = f"import sys, farshore_center.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
