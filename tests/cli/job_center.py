"""The jobs of the small center: one record that a test moves, and the calls that it takes."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cli.job_documents import job
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

API = "/api/v1"
CALLS = {
    "approve": ("running", "wave 2 was approved"), "pause": ("paused", None),
    "resume": ("running", None), "abort": ("aborted", None), "rollback": ("rolling_back", None),
}  # fmt: skip


def move(center: "ContractCenter", **changes: Any) -> None:
    """The only job is otherwise from now on, and an event tells of it."""

    def both() -> None:
        center.jobs["01kx2"].update(changes)
        center.emit("job.state", job="01kx2", state=changes.get("state"))

    center.on_loop(both)


def job_routes(
    app: FastAPI, center: "ContractCenter", problem: Callable[..., JSONResponse], paged: Any
) -> None:
    @app.post(API + "/jobs", status_code=201)
    async def create(request: Request) -> Any:
        assert request.headers["idempotency-key"]
        body = await request.json()
        if body["selector"] == "label.nobody=1":
            errors = [{"field": "selector", "detail": "it means no node now"}]
            return problem(422, "Not valid", detail="1 field is wrong", errors=errors)
        made = {key: body[key] for key in ("name", "selector", "author")}
        cron = body.get("start", {}).get("cron")
        made |= {"start": {"at": None, "cron": cron, "timezone": "UTC"}}
        made |= {"state": "scheduled"} if cron else {}
        center.jobs["01kx2"] = job(**made, counts={"waiting": 2}, total=2, touched=0)
        return center.jobs["01kx2"]

    @app.post(API + "/jobs/preview")
    async def preview() -> Any:
        return center.preview

    @app.get(API + "/jobs")
    async def jobs(request: Request) -> Any:
        states = request.query_params.get("state")
        found = [j for j in center.jobs.values() if states is None or j["state"] in states]
        return paged([{k: v for k, v in j.items() if k != "waves"} for j in found], request)

    @app.get(API + "/jobs/{job_id}")
    async def one(job_id: str) -> Any:
        if job_id not in center.jobs:
            return problem(404, "Not found", detail=f"there is no job {job_id!r}")
        return json.loads(json.dumps(center.jobs[job_id]))

    @app.get(API + "/jobs/{job_id}/nodes")
    async def nodes(job_id: str, request: Request) -> Any:
        assert job_id in center.jobs
        states = request.query_params.get("state")
        wanted = None if states is None else states.split(",")
        wave = request.query_params.get("wave")
        found = [
            each
            for each in center.job_nodes
            if (wanted is None or each["state"] in wanted)
            and (wave is None or str(each["wave"]) == wave)
        ]
        return paged(found, request)

    @app.get(API + "/jobs/{job_id}/history")
    async def history(job_id: str, request: Request) -> Any:
        assert job_id in center.jobs
        return paged(center.job_history, request)

    @app.post(API + "/jobs/{job_id}/{call}")
    async def steer(job_id: str, call: str, request: Request) -> Any:
        assert request.headers["idempotency-key"]
        found = center.jobs[job_id]
        if call not in found["can"]:
            detail = f"the job is {found['state']}: it can {', '.join(found['can'])}"
            return problem(409, "Not now", detail=detail)
        state, reason = CALLS[call]
        found |= {"state": state, "reason": reason}
        more = {"stays": center.stays} if call == "abort" else {}
        return found | more
