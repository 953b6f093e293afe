"""``/api/v1/jobs`` over HTTP."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response

from farshore_center.api.cursors import read_cursor, write_cursor
from farshore_center.api.problems import Problem
from farshore_center.commands.request import NOT_VALID
from farshore_center.config.request import Signed, etag, signed
from farshore_center.jobs.bodies import ActionBody, ApproveBody, JobBody, ResumeBody
from farshore_center.jobs.lifecycle import JOB, JOB_NODE
from farshore_center.jobs.reading import JobReader
from farshore_center.jobs.service import JobService
from farshore_center.jobs.views import JobView, node_document, step_document

MAX_LIMIT = 500
MAX_ROWS = 1000

Author = Annotated[str | None, Header(alias="X-Farshore-Author")]
IfMatch = Annotated[str | None, Header()]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Rows = Annotated[int, Query(ge=1, le=MAX_ROWS)]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
States = Annotated[str | None, Query(description="several with commas")]

_LAST_WAVE = 2**31 - 1


def job_routes(service: JobService, reader: JobReader) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["jobs"])
    _reading(router, reader)
    _deciding(router, service)

    @router.post("/jobs", status_code=201)
    async def create(
        body: JobBody,
        author: Author = None,
        idempotency_key: Annotated[
            str | None, Header(description="The same key makes one job, however often sent.")
        ] = None,
    ) -> Response:
        """Makes a job: a command or a configuration for the nodes of a selector, in waves."""
        if idempotency_key is not None:
            earlier = await service.find_repeated(body, idempotency_key)
            if earlier is not None:
                return _answer(earlier)
        made = await service.create(
            body, signed(body.author or author, body.message), idempotency_key
        )
        location = {"Location": f"/api/v1/jobs/{made.view.record.id}"}
        return _answer(made.view, status=200 if made.repeated else 201, headers=location)

    @router.post("/jobs/preview")
    async def preview(body: JobBody) -> Response:
        """What the job would be: how many nodes, which waves, what can't be met."""
        return _json((await service.preview(body)).document())

    return router


def _reading(router: APIRouter, reader: JobReader) -> None:
    @router.get("/jobs")
    async def list_jobs(
        limit: Limit = 50,
        cursor: Cursor = None,
        state: States = None,
        parent: str | None = None,
    ) -> Response:
        """Jobs, the newest first, without their waves."""
        states = _states(state, JOB.states)
        found = await reader.page(limit + 1, _read(cursor), states, parent)
        last = found[limit - 1].record if len(found) > limit else None
        more = None if last is None else write_cursor(last.created_ms, last.id)
        return _json({"items": [view.document() for view in found[:limit]], "next": more})

    @router.get("/jobs/{job_id}")
    async def get(job_id: str) -> Response:
        """A job with its waves."""
        return _answer(await reader.get(job_id))

    @router.get("/jobs/{job_id}/nodes")
    async def nodes(
        job_id: str,
        limit: Rows = 500,
        cursor: Cursor = None,
        state: States = None,
        wave: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        """The nodes of a job, by wave."""
        states = _states(state, JOB_NODE.states)
        record, found = await reader.nodes(job_id, limit + 1, _read(cursor), states, wave)
        last = found[limit - 1].each if len(found) > limit else None
        more = None if last is None else write_cursor(last.wave or _LAST_WAVE, last.node)
        items = [node_document(record, row) for row in found[:limit]]
        return _json({"items": items, "next": more})

    @router.get("/jobs/{job_id}/history")
    async def history(
        job_id: str,
        limit: Rows = 500,
        cursor: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
        node: str | None = None,
    ) -> Response:
        """Every transition of the job and its nodes, the oldest first."""
        found = await reader.history(job_id, limit + 1, cursor, node)
        more = found[limit - 1]["id"] if len(found) > limit else None
        return _json({"items": [step_document(row) for row in found[:limit]], "next": more})


def _deciding(router: APIRouter, service: JobService) -> None:
    @router.post("/jobs/{job_id}/pause")
    async def pause(
        job_id: str,
        body: ActionBody | None = None,
        author: Author = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Nothing new is sent until somebody resumes it."""
        return _answer(await service.act("pause", job_id, _by(body, author), if_match=if_match))

    @router.post("/jobs/{job_id}/resume")
    async def resume(
        job_id: str,
        body: ResumeBody | None = None,
        author: Author = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Goes on; of a halted job the failures until now are forgiven."""
        by, deadline_s = _by(body, author), None if body is None else body.deadline_s
        found = await service.act("resume", job_id, by, if_match=if_match, deadline_s=deadline_s)
        return _answer(found)

    @router.post("/jobs/{job_id}/abort")
    async def abort(
        job_id: str,
        body: ActionBody | None = None,
        author: Author = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Ends the job and says what stays."""
        return _answer(await service.act("abort", job_id, _by(body, author), if_match=if_match))

    @router.post("/jobs/{job_id}/approve")
    async def approve(
        job_id: str,
        body: ApproveBody | None = None,
        author: Author = None,
        if_match: IfMatch = None,
    ) -> Response:
        """The next wave may begin."""
        wave = None if body is None else body.wave
        by = _by(body, author)
        return _answer(await service.approve(job_id, by, wave=wave, if_match=if_match))

    @router.post("/jobs/{job_id}/rollback")
    async def rollback(
        job_id: str,
        body: ActionBody | None = None,
        author: Author = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Undoes at each touched node what was done."""
        return _answer(await service.act("rollback", job_id, _by(body, author), if_match=if_match))


def _by(body: ActionBody | None, author: str | None) -> Signed:
    said = body or ActionBody()
    return signed(said.author or author, said.message)


def _states(text: str | None, known: tuple[str, ...]) -> list[str]:
    found = [] if text is None else [part.strip() for part in text.split(",")]
    for state in found:
        if state not in known:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field="state",
                detail=f"there is no state {state[:64]!a}",
                expected=f"of {', '.join(known)}",
            )
    return found


def _answer(
    view: JobView,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    tagged = {"ETag": etag(view.record.revision), **(headers or {})}
    return _json(view.document(), status=status, headers=tagged)


def _json(
    document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(document), status_code=status, media_type="application/json", headers=headers
    )


def _read(cursor: str | None) -> tuple[int, str] | None:
    return None if cursor is None else read_cursor(cursor)
