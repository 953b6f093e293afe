"""Writes the diagrams of ``docs/jobs.md`` from the tables.

After a change of a table: ``.venv/bin/python tests/center_jobs/job_page.py``.
"""

import re
from pathlib import Path

from farshore_center.jobs.lifecycle import JOB, JOB_NODE

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"


def page(text: str) -> str:
    """The page with its diagrams as the tables are."""
    for lifecycle in (JOB, JOB_NODE):
        mark = f"<!-- {lifecycle.noun} -->"
        drawn = f"{mark}\n\n```mermaid\n{lifecycle.mermaid()}\n```\n"
        pattern = re.escape(mark) + r"\n(?:\n```mermaid\n.*?\n```\n)?"
        found = re.search(pattern, text, flags=re.DOTALL)
        if found is None:
            raise ValueError(f"the page has no place for the {lifecycle.noun}")
        text = text[: found.start()] + drawn + text[found.end() :]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
