"""What every soak does with its nodes in the end: wait for them, wait for commands, stop in order."""

import asyncio
from collections.abc import Collection, Iterable

from soak.errors import SoakError
from soak.http import CenterHttp, until
from soak.load import Load
from soak.processes import Program

QUIET_S = 240.0


async def back(http: CenterHttp, names: Collection[str]) -> None:
    """Until all nodes are online."""

    async def online() -> bool:
        nodes = await http.nodes()
        return all(name in nodes and nodes[name]["state"] == "online" for name in names)

    await until(online, "all nodes to be online", within_s=QUIET_S, every_s=0.2)


async def ended(http: CenterHttp, load: Load) -> None:
    """Until every command has ended."""
    for command_id in [*(one.id for one in load.given), *load.pings]:
        path = f"/api/v1/commands/{command_id}"

        async def done(path: str = path) -> bool:
            command = await http.get(path)
            return command is not None and bool(command["done"])

        await until(done, f"the end of command {command_id}", within_s=QUIET_S, every_s=0.2)


async def stop(center: Program, agents: Iterable[Program]) -> None:
    """Agents first, so that the center hears their last words."""
    codes = await asyncio.gather(*(agent.stop(within_s=90) for agent in agents))
    codes.append(await center.stop(within_s=60))
    if any(codes):
        raise SoakError(f"an orderly stop ended with {codes}")
