"""The kind ``icmp``: echoes there and back."""

from farshore_protocol.commands.catalogue import NetProbeArgs

from farshore_edge.commands.verbs.probe.echo import Echo
from farshore_edge.commands.verbs.probe.model import (
    Found,
    ProbeError,
    Way,
    attempts,
    clock_ms,
    reason,
)

COUNT = 3


async def probe(args: NetProbeArgs, way: Way) -> Found:
    try:
        echo = Echo(way)
    except OSError as exc:
        raise ProbeError("no_answer", f"{way.address}: {reason(exc)}") from exc

    async def once() -> float:
        began = clock_ms()
        await echo.answered(await echo.send(args.size))
        return clock_ms() - began

    try:
        made = await attempts(args.count or COUNT, args.interval_s, args.wait_s, once)
    finally:
        echo.close()
    if not made.took_ms:
        raise ProbeError("no_answer", f"{way.address}: {made.told()}", made.found())
    return made.found()
