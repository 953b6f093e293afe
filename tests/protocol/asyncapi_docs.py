"""Writes ``docs/asyncapi.json`` from topics, messages and the catalogue of verbs.

After a change of any of them: ``.venv/bin/python tests/protocol/asyncapi_docs.py``.
"""

import json
from pathlib import Path

from farshore_protocol.asyncapi import document

PAGE = Path(__file__).parents[2] / "docs" / "asyncapi.json"


def page() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
