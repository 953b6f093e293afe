"""Every command of docs/field-guide.md, run with Mosquitto's clients against both kinds of broker."""

import json
import re

import pytest
from farshore_edge.settings import load
from farshore_protocol.commands import NODE_COMMAND
from farshore_protocol.commands.lifecycle import FINAL
from field.conftest import DEADLINE_S, Site
from field.guide import PAGE, fits, looks_like, missing, steps
from system.programs import until

TEXT = PAGE.read_text(encoding="utf-8")
STEPS = steps(TEXT)


@pytest.mark.processes
@pytest.mark.asyncio(loop_scope="module")
async def test_every_command_of_the_guide_shows_what_the_guide_says(site: Site) -> None:
    for step in STEPS:
        if step.listens:
            await site.listen(step.script)
            continue
        since = len(site.heard()) if (site.folder / "heard").exists() else 0
        printed = await site.run(step.script)
        assert missing(step.printed, printed) == [], (step.script, printed)
        if step.heard:
            await site.until_heard(step.heard, since)
    await the_center_has_learnt_of_all(site)


async def the_center_has_learnt_of_all(site: Site) -> None:
    """Of every command that was heard, at every node, with what was asked for."""
    for command_id, by_node in site.reports().items():

        async def known(command_id: str = command_id) -> bool:
            view = await site.center.get(f"/commands/{command_id}")
            return bool(view and view["done"])

        await until(known, f"{command_id} at the center", DEADLINE_S)
        view = await site.center.get(f"/commands/{command_id}")
        assert view["by"] == "field"
        targets = {target["node"]: target for target in view["targets"]}
        assert set(targets) == set(by_node)
        for node, said in site.reports()[command_id].items():
            if said["state"] in FINAL:
                assert targets[node]["state"] == said["state"], (command_id, node)
                assert targets[node]["result"] == said.get("result"), (command_id, node)
    group = [name for name in site.reports() if name.startswith("group-")]
    assert group
    for name in group:
        view = await site.center.get(f"/commands/{name}")
        assert view["args"] == {"argv": ["uname", "-m"]}


def test_what_the_guide_shows_is_looked_for() -> None:
    shown = 'fs1/up/pi-17/res/… {"state":"failed","error":{"message":"exit … 3"},"output":[{"text":"…"}]}'
    said = {"state": "failed", "error": {"message": "exit code 3", "code": "exit"}, "seq": 1}
    came = f"fs1/up/pi-17/res/abc {json.dumps(said | {'output': [{'text': 'x'}]})}"
    assert looks_like(shown, came)
    assert missing([shown, shown], [came]) == [shown]
    for wrong in (
        came.replace("failed", "succeeded"),
        came.replace("code 3", "code 4"),
        came.replace("pi-17", "pi-18"),
        f"fs1/up/pi-17/res/abc {json.dumps(said)}",
        "fs1/up/pi-17/res/abc garbage",
    ):
        assert not looks_like(shown, wrong)
    assert not fits(True, 1)
    assert not fits({"a": None}, {})


def test_the_guide_has_steps_of_every_kind() -> None:
    assert sum(step.listens for step in STEPS) == 1
    assert sum(bool(step.heard) for step in STEPS) >= 15
    assert sum(bool(step.printed) for step in STEPS) >= 3
    assert len(re.findall(r"^ *```sh", TEXT, re.MULTILINE)) == len(STEPS)


def test_the_guide_explains_every_state_of_a_command_at_the_node() -> None:
    table = TEXT.partition("## What the states mean")[2].partition("##")[0]
    assert {s for s in NODE_COMMAND.table if f"`{s}`" not in table} == set()


def test_the_numbers_of_the_guide_are_those_of_the_code() -> None:
    from farshore_edge.commands.service import WAITING_MAX
    from farshore_protocol.commands.catalogue.files import PIECE_MAX_BYTES

    assert f"Above {WAITING_MAX} the node drops" in TEXT
    assert f"longer than {PIECE_MAX_BYTES // 1024} KB" in TEXT
    settings = load({"node": "a"}, {}).settings
    assert settings.commands_at_once == 8, "the guide says eight"
