"""Lists of jobs and of their nodes, page by page."""

import pytest
from center_jobs.stage import Stage


async def test_pages_hold_every_job_and_every_node_once(stage: Stage) -> None:
    await stage.fleet(3)
    made = [(await stage.make())["id"] for _ in range(3)]
    first = await stage.get("/jobs", limit=2)
    rest = await stage.get("/jobs", limit=2, cursor=first["next"])
    found = [job["id"] for job in (*first["items"], *rest["items"])]
    assert (sorted(found), rest["next"]) == (sorted(made), None)
    nodes = f"/jobs/{made[0]}/nodes"
    first = await stage.get(nodes, limit=2)
    rest = await stage.get(nodes, limit=2, cursor=first["next"])
    names = {each["node"] for each in (*first["items"], *rest["items"])}
    assert (len(first["items"]), len(names), rest["next"]) == (2, 3, None)


@pytest.mark.parametrize("cursor", ["%%%", "YWJj"])
async def test_what_is_no_cursor_is_refused(stage: Stage, cursor: str) -> None:
    answer = await stage.http.get("/jobs", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"
