"""What a soak did and found, as JSON and as a page. No path of this machine stands in it."""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from soak.violation import Violation

SCHEMA = 1
ROOT = Path(__file__).parent.parent
ON_TRIAL = ("edge", "center", "shared")


def report(
    soak: str,
    *,
    began: datetime,
    settings: Mapping[str, Any],
    counts: Mapping[str, Any],
    violations: Sequence[Violation],
    commit: str,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "soak": soak,
        "date": began.isoformat(timespec="seconds"),
        "commit": commit,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "system": platform.system(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "settings": dict(settings),
        "counts": dict(counts),
        "violations": [str(violation) for violation in violations],
    }


def page(found: Mapping[str, Any]) -> str:
    """The report for people, in Markdown."""
    machine = found["machine"]
    lines = [
        f"# Soak: {found['soak']}",
        "",
        f"{found['date']}, commit `{found['commit']}`; {machine['cores']} cores, "
        f"{machine['system']} {machine['kernel']}, Python {machine['python']}, "
        f"SQLite {machine['sqlite']}.",
        "",
        f"**{len(found['violations'])} violations.**",
        *(f"- {violation}" for violation in found["violations"]),
        "",
        "| setting | |",
        "| --- | --- |",
        *(f"| `{name}` | {_cell(value)} |" for name, value in found["settings"].items()),
        "",
        *_counts(found["counts"]),
        "",
    ]
    return "\n".join(lines)


def _counts(counts: Mapping[str, Any]) -> list[str]:
    """One column, or one for each kind where counts are told by kind."""
    by_kind = all(isinstance(part, Mapping) for part in counts.values())
    kinds: dict[str, Mapping[str, Any]] = dict(counts) if by_kind else {"": counts}
    names = dict.fromkeys(name for part in kinds.values() for name in part)
    return [
        "| what was done and checked | " + " | ".join(kinds) + " |",
        "| --- |" + " --- |" * len(kinds),
        *(
            f"| {name.replace('_', ' ')} | "
            + " | ".join(_cell(part.get(name, "")) for part in kinds.values())
            + " |"
            for name in names
        ),
    ]


def write(found: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = str(found["soak"])
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text)
    (folder / f"{name}.md").write_text(page(found))


def commit() -> str:
    """Of the checkout that is run, if it is one; ``-dirty`` where what is on trial was changed since."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    return head + "-dirty" if _git("status", "--porcelain", "--", *ON_TRIAL) else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603, S607 # fixed words
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
