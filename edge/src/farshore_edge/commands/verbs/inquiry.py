"""The verbs that only ask: ``ping``, ``facts``, ``status``, ``verbs``."""

import asyncio
from collections.abc import Callable
from typing import Any

from farshore_protocol.commands import VERBS

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


def verbs(known: Callable[[], list[str]]) -> Handler:
    async def handle(_args: Any, _context: Context) -> Outcome:
        return Outcome(
            result={
                "verbs": {
                    name: {
                        "summary": VERBS[name].summary,
                        "risk": VERBS[name].risk,
                        "idempotent": VERBS[name].idempotent,
                        "timeout_s": VERBS[name].timeout_s,
                    }
                    for name in known()
                }
            }
        )

    return handle
