"""The place: a center, a node of the core, nodes of the edge behind slow links, and the data at each of them.

All of it runs on this machine. Each node of the edge has proxies of its own that delay both what its agent
says to the center and what is read from it, and throttle the former; who reads from it at the same time
shares the link's rate evenly. What is read at the node itself is not slowed.
"""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_sim.faults import TcpProxy
from farshore_sim.faults.link_faults import Delay, Direction, Throttle

from bench.center import Center, center
from bench.context import Context
from bench.edge_or_core.scenario import CORES, SLOWNESS, Site
from bench.edge_or_core.work import get_ahead
from bench.errors import BenchError
from bench.processes import Running, farshore, running

BURST_BYTES = 16_384
BUFFER_BYTES = 32_768
PIECE = bytes(65_536)
TEST = {"count": 10, "interval_s": 0.05, "bytes": 1024 * 1024, "seconds": 3}
"""What each node is asked to measure its link with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    center: Center
    routes: Path


@contextlib.asynccontextmanager
async def stage(
    context: Context, sites: Sequence[Site], *, ahead: bool = False
) -> AsyncIterator[Stage]:
    """With everybody online, and every link measured by its node. ``ahead``: all of it goes before other
    programs of this machine, so that their work is not what is measured."""
    folder = context.folder("edge-or-core")
    async with contextlib.AsyncExitStack() as opened:
        found = await opened.enter_async_context(center(folder))
        own = {"ahead": ahead}
        by_link: dict[str, list[Any]] = {}
        routes: dict[str, dict[str, Any]] = {
            core: {**own, "slowness": 1, "data": by_link} for core in CORES
        }
        running_now = [found.process]
        for core in CORES:
            agent = await _agent(opened, folder, core, found.mqtt_port, "core", "rack")
            running_now.append(agent)
        local: dict[str, list[Any]] = {}
        for site in sites:
            data = await _data(opened)
            shared = await _data(opened, Share(site.up_bytes_s))
            to_center = await _link(opened, site, found.mqtt_port, throttled=True)
            to_data = await _link(opened, site, shared, throttled=False)
            by_link[site.node] = ["127.0.0.1", to_data.port]
            local[site.node] = ["127.0.0.1", data]
            group = f"edge/{site.node}"
            agent = await _agent(opened, folder, site.node, to_center.port, group, "box")
            running_now.append(agent)
        for site in sites:
            # To a neighbour's data the way is the neighbour's link.
            ways = {**by_link, site.node: local[site.node]}
            routes[site.node] = {**own, "slowness": SLOWNESS, "data": ways}
        for program in running_now if ahead else ():
            get_ahead(program.pid)
        path = folder / "routes.json"
        path.write_text(json.dumps(routes))
        await found.online(len(CORES) + len(sites), within_s=90)
        context.say(f"{len(CORES)} nodes of the core and {len(sites)} of the edge are online")
        for site in sites:
            await _measure(context, found, site)
        yield Stage(center=found, routes=path)


async def _agent(
    opened: contextlib.AsyncExitStack, folder: Path, node: str, port: int, group: str, kind: str
) -> Running:
    argv = farshore(
        "farshore-agent",
        *("run", "--dev", "--node", node, "--center", f"mqtt://127.0.0.1:{port}"),
        *("--group", group, "--label", f"kind={kind}", "--data", str(folder / node)),
        *("--link-every-s", "0", "--heartbeat-s", "5"),
    )
    return await opened.enter_async_context(running(node, *argv, log=folder / f"{node}.log"))


class Share:
    """A rate that all who use it share: pieces go out one after the other, as they come."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._free_s = 0.0

    async def take(self, size: int) -> None:
        """Until so many bytes have passed, but for a burst."""
        now_s = time.monotonic()
        self._free_s = max(self._free_s, now_s) + size / self._bytes_s
        await asyncio.sleep(max(0.0, self._free_s - now_s - BURST_BYTES / self._bytes_s))


async def _data(opened: contextlib.AsyncExitStack, share: Share | None = None) -> int:
    """A server that gives as many bytes as it is asked for; its port."""
    give = functools.partial(_give, share)
    server = await asyncio.start_server(give, "127.0.0.1", 0)
    opened.push_async_callback(server.wait_closed)
    opened.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _give(
    share: Share | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    piece = PIECE if share is None else PIECE[: BURST_BYTES // 2]
    with contextlib.suppress(OSError, ValueError):
        left = int(await reader.readline())
        while left > 0:
            if share is not None:
                await share.take(min(left, len(piece)))
            writer.write(piece[:left])
            left -= len(piece)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _link(
    opened: contextlib.AsyncExitStack, site: Site, port: int, *, throttled: bool
) -> TcpProxy:
    """``throttled``: up and down as the site's link is; the proxy throttles each connection by itself."""
    proxy = TcpProxy("127.0.0.1", port, buffer_bytes=BUFFER_BYTES)
    if throttled:
        away = Throttle(bytes_per_s=site.up_bytes_s, burst_bytes=BURST_BYTES)
        here = Throttle(bytes_per_s=site.down_bytes_s, burst_bytes=BURST_BYTES)
        proxy.put(away, Direction.UP)
        proxy.put(here, Direction.DOWN)
    proxy.put(Delay(fixed_s=site.delay_s))
    await proxy.start()
    opened.push_async_callback(proxy.stop)
    return proxy


async def _measure(context: Context, found: Center, site: Site) -> None:
    """The node measures its own link, as it does once a day, and the center hears of it."""
    done = await found.command(60, node=site.node, verb="link-test", args=TEST, ttl_s=60)
    (target,) = done["targets"]
    if target["state"] != "succeeded":
        raise BenchError(f"link-test on {site.node}: {target['state']} {target.get('error')}")
    told = target["result"]["summary"]

    async def heard() -> bool | None:
        events = (await found.get(f"/api/v1/events?kind=evt.link&node={site.node}"))["items"]
        return bool(events) or None

    await found.until(heard, f"the measured link of {site.node}", within_s=30)
    context.say(f"{site.node} measured: {told}")
