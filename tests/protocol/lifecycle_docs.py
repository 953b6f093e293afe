"""Writes ``docs/lifecycles.md`` from the lifecycle tables.

After a change of a table: ``.venv/bin/python tests/protocol/lifecycle_docs.py``. A new lifecycle
joins by a line in ``LIFECYCLES``.
"""

from pathlib import Path

from farshore_center.tasks.lifecycle import PLACED
from farshore_protocol.commands import NODE_COMMAND, TARGET
from farshore_protocol.config.lifecycle import NODE_CONFIG
from farshore_protocol.lifecycle import Lifecycle
from farshore_protocol.tasks import INSTANCE, NODE_TASK

PAGE = Path(__file__).parents[2] / "docs" / "lifecycles.md"

LIFECYCLES: tuple[tuple[Lifecycle, str], ...] = (
    (
        NODE_COMMAND,
        "What the node records and reports. `interrupted` is a command after a crash between its "
        "start and its result; only an idempotent verb goes on from there.",
    ),
    (
        TARGET,
        "What the center records for each node that a command is addressed to. `queued` becomes "
        "`rejected` where the node is there and has not announced the verb. From `sent` on the "
        "node's word decides. Reports may be lost or overtake each other, so the center takes every "
        "state that is reachable in any number of steps. `expired` is what the center assumes when "
        "the deadline passes without a word; an answer that comes later overrules it.",
    ),
    (
        NODE_CONFIG,
        "What the node writes down before each step of a configuration's transaction. It reports "
        "`applied`, `drifted`, `rolled_back` and `failed`. After a crash between `staged` and "
        "`rolling_back` it undoes what there is and receives the configuration anew. How the center "
        "sees it: [configuration](configuration.md#states).",
    ),
    (
        NODE_TASK,
        "What the node writes down of each instance of a task, and reports by `evt/task`. After a "
        "crash of the agent it takes up what still runs, and goes on from `backing_off` with what "
        "does not.",
    ),
    (
        INSTANCE,
        "What the center records of each grant. From `granted` on the node's word decides; `lost` is "
        "what the center assumes when its node was silent for too long, and the node's word "
        "overrules it.",
    ),
    (
        PLACED,
        "What the center decides of each instance. While it is `active` it has a current grant, whose "
        "state is shown in its place.",
    ),
)

HEAD = """# Lifecycles

Generated from the tables in the code; a pair of states without an arrow is refused, and changes
nothing. After a change of a table: `.venv/bin/python tests/protocol/lifecycle_docs.py`.
"""


def page() -> str:
    sections = [
        f"## {lifecycle.noun[0].upper()}{lifecycle.noun[1:]}\n\n{text}\n\n"
        f"```mermaid\n{lifecycle.mermaid()}\n```\n"
        for lifecycle, text in LIFECYCLES
    ]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
