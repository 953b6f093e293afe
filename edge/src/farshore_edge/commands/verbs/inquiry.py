"""The verbs that only ask: ``ping``, ``facts``, ``status``, ``verbs``."""

import asyncio
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from farshore_protocol.commands import VERBS, CommandError, Verb
from farshore_protocol.commands.catalogue import VerbsArgs
from farshore_protocol.commands.schema import catalogue_digest, verb_document

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

    async def handle(args: VerbsArgs, _context: Context) -> Outcome:
        names = known()
        if args.verb is None:
            told = {name: _shortly(verb_document(catalogue[name])) for name in names}
        elif args.verb in names:
            told = {args.verb: verb_document(catalogue[args.verb])}
        else:
            near = difflib.get_close_matches(args.verb, names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
            message = f"verb: {args.verb!r} is not known here; {hint}"
            error = CommandError(code="unknown_verb", message=message)
            return Outcome(state="failed", error=error)
        result: dict[str, Any] = {"verbs": told, "digest": catalogue_digest(names, catalogue)}
        if refused:
            result["refused"] = dict(refused)
        return Outcome(result=result)

    return handle


def _shortly(document: dict[str, Any]) -> dict[str, Any]:
    return {key: document[key] for key in ("summary", "risk", "idempotent", "timeout_s", "digest")}
