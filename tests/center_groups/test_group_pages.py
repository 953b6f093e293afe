"""The commands of the pages are run, and what they print is what stands there."""

import re
import shlex
from pathlib import Path

from center_groups.conftest import Cli, Stage

DOCS = Path(__file__).parents[2] / "docs"


def consoles(page: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


async def test_the_page_of_groups(stage: Stage, cli: Cli) -> None:
    await stage.born("pi-1", labels={"line": "3"})
    commands = consoles("groups.md")
    assert len(commands) >= 10
    for command, printed in commands:
        program, *words = shlex.split(command)
        result = await cli(*words)
        assert (program, result.exit_code) == ("farshore", 0), result.output
        if printed:
            assert result.stdout.splitlines() == printed
    assert await stage.paths() == ["eu"]


async def test_the_page_of_selectors(stage: Stage, cli: Cli) -> None:
    ((command, printed),) = consoles("selectors.md")
    result = await cli(*shlex.split(command)[1:])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == printed
