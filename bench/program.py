"""What a bench's program does around its measuring: progress, Ctrl-C, the files, the table.

Exit code 0: everything was measured; 1: something could not be; 130: ended by Ctrl-C or SIGTERM.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from bench.table import tables

Say = Callable[[str], None]
Report = dict[str, Any]


async def until_asked(work: Awaitable[Report]) -> Report | None:
    """Runs ``work``; SIGTERM and Ctrl-C cancel it, and it ends every process that it started."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def tell(
    measure: Callable[[Say], Awaitable[Report]],
    *,
    files: Path,
    draw: Callable[[Report], str],
    as_json: bool,
    show: Callable[[Report], RenderableType] = tables,
) -> int:
    """Measures, writes ``files``.json and .svg, prints (by ``show``); gives the exit code."""
    progress = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        progress.print(f"{datetime.now():%H:%M:%S} {text}", style="dim", markup=False)  # noqa: DTZ005 # for people: their own wall clock

    found = asyncio.run(until_asked(measure(say)))
    if found is None:
        progress.print("Ended before everything was measured; no report was written.")
        return 130
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    files.with_suffix(".json").write_text(text)
    files.with_suffix(".svg").write_text(draw(found))
    if as_json:
        sys.stdout.write(text)
    else:
        Console(highlight=False).print(show(found))
    say(f"written: {files.with_suffix('.json')} and {files.name}.svg")
    return 1 if found["failures"] else 0
