"""``config-override`` and ``config-retry``: the person at the node and its configuration."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

import orjson
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import ConfigOverrideArgs
from farshore_protocol.config.messages import ConfigError, Override

from farshore_edge.commands.verbs.model import Context, Handler, Outcome

MAX_PATCH_BYTES = 32 * 1024
"""It stands in every report."""


class Verdict(Protocol):
    @property
    def state(self) -> str: ...

    @property
    def error(self) -> ConfigError | None: ...


class Configuration(Protocol):
    def override(self) -> Override | None: ...

    async def set_override(self, override: Override | None) -> Verdict: ...

    async def retry(self) -> None: ...

    def status(self) -> dict[str, Any]: ...


def override(configuration: Callable[[], Configuration], now_ms: Callable[[], int]) -> Handler:
    async def handle(args: ConfigOverrideArgs, _context: Context) -> Outcome:
        config = configuration()
        if args.action == "show":
            return _standing(config)
        if args.action == "clear":
            return _ended(config, await config.set_override(None))
        wrong = _wrong(args)
        if wrong is not None or args.config is None:
            return _failed("bad_args", wrong or "")
        at_ms = now_ms()
        wanted = Override(
            config=args.config,
            author=args.author,
            reason=args.reason,
            set_ms=at_ms,
            expires_ms=None if args.ttl_s is None else at_ms + int(args.ttl_s * 1000),
        )
        return _ended(config, await config.set_override(wanted))

    return handle


def retry(configuration: Callable[[], Configuration]) -> Handler:
    async def handle(_args: Any, _context: Context) -> Outcome:
        config = configuration()
        await config.retry()
        return Outcome(result=config.status())

    return handle


def _wrong(args: ConfigOverrideArgs) -> str | None:
    if not args.config:
        return "set: expected config, a merge patch with something in it"
    if not args.author.strip() or not args.reason.strip():
        return "set: expected author and reason, for those who find it later"
    size = len(orjson.dumps(args.config))
    if size > MAX_PATCH_BYTES:
        return f"set: config of {size} bytes, expected {MAX_PATCH_BYTES} or fewer"
    return None


def _standing(config: Configuration) -> Outcome:
    present = config.override()
    return Outcome(result={"override": None if present is None else asdict(present)})


def _ended(config: Configuration, verdict: Verdict) -> Outcome:
    if verdict.state == "applied":
        return _standing(config)
    error = verdict.error
    if error is None:
        return _failed("superseded", "the agent is stopping")
    where = f"{error.path}: " if error.path else ""
    return _failed(error.code, f"{verdict.state}: {where}{error.message}")


def _failed(code: str, message: str) -> Outcome:
    return Outcome(state="failed", error=CommandError(code=code, message=message))
