"""The verbs that only ask: ``ping``, ``facts``, ``status``, ``verbs``."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from farshore_protocol.commands import VERBS, Verb

from farshore_edge.commands.verbs.model import Context, Handler, Outcome


def ping(now_ms: Callable[[], int]) -> Handler:
    async def handle(_args: Any, _context: Context) -> Outcome:
        return Outcome(result={"pong": True, "at": now_ms()})

    return handle


def facts(find_out: Callable[[], dict[str, Any]]) -> Handler:
    async def handle(_args: Any, _context: Context) -> Outcome:
        return Outcome(result=await asyncio.to_thread(find_out))

    return handle


def status(tell: Callable[[], dict[str, Any]]) -> Handler:
    async def handle(_args: Any, _context: Context) -> Outcome:
        return Outcome(result=tell())

    return handle


def verbs(
    known: Callable[[], list[str]],
    catalogue: Mapping[str, Verb] = VERBS,
    refused: Mapping[str, str] | None = None,
) -> Handler:
    """``refused``: verbs of other distributions that are not there, and why."""

    async def handle(_args: Any, _context: Context) -> Outcome:
        told = {name: _told(catalogue[name]) for name in known()}
        result: dict[str, Any] = {"verbs": told}
        if refused:
            result["refused"] = dict(refused)
        return Outcome(result=result)

    return handle


def _told(verb: Verb) -> dict[str, Any]:
    return {
        "summary": verb.summary,
        "risk": verb.risk,
        "idempotent": verb.idempotent,
        "timeout_s": verb.timeout_s,
    }
