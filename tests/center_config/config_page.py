"""Writes the diagram in ``docs/configuration.md`` from the table of the center's states.

After a change of the table: ``.venv/bin/python tests/center_config/config_page.py``.
"""

import re
from pathlib import Path

from farshore_center.config.lifecycle import DESIRED_CONFIG

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
_DIAGRAM = re.compile(r"```mermaid\n.*?\n```", re.DOTALL)


def page(text: str) -> str:
    diagram = f"```mermaid\n{DESIRED_CONFIG.mermaid()}\n```"
    return _DIAGRAM.sub(lambda _found: diagram, text, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
