"""``python -m farshore_sim.faults.agent``: the real host agent, with a wrong wall clock.

Hardware, disk, link and commands are those of ``farshore-agent run``, and so are the settings, from
flags and environment; only the clock is faulty. It says so in its first log line.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from farshore_edge.app import Agent
from farshore_edge.database import SqliteDatabase
from farshore_edge.errors import EdgeError, SettingsError
from farshore_edge.host import HostMachine, mqtt_link_settings
from farshore_edge.settings import DOCS, Settings, load
from farshore_protocol.clock import Clock, SystemClock
from farshore_protocol.ids import Ids, system_rng
from farshore_protocol.link.mqtt import MqttLink

from farshore_sim.errors import SimError
from farshore_sim.faults import clock as clocks

log = logging.getLogger(__name__)


def agent(settings: Settings, clock: Clock) -> Agent:
    """The agent of this machine, by this clock."""
    rng = system_rng()
    return Agent(
        settings,
        machine=HostMachine(),
        database=SqliteDatabase(Path(settings.data) / "agent.db", Ids(rng)),
        link=MqttLink(mqtt_link_settings(settings), clock=clock, rng=rng),
        clock=clock,
        rng=rng,
    )


def main(argv: Sequence[str] | None = None) -> int:
    flags = _flags(argv)
    words = flags.pop("clock")
    try:
        clock = clocks.FaultyClock(clocks.read(words), true=SystemClock())
        settings = load(flags, os.environ).settings
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        log.warning("the wall clock of this agent is faulty: %s", words)
        return asyncio.run(_run(agent(settings, clock)))
    except (SettingsError, SimError) as exc:
        sys.stderr.write(f"faulty agent: {exc}\n")
        return 2
    except EdgeError as exc:
        sys.stderr.write(f"faulty agent: {exc}\n")
        return 1


def _flags(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m farshore_sim.faults.agent", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--clock", required=True, help="1970, +10y, -3h, a jump -2h@3.5; commas")
    for setting in fields(Settings):
        text = DOCS[setting.name].replace("%", "%%")
        flag = "--" + setting.name.replace("_", "-")
        if setting.name == "dev":
            parser.add_argument(flag, action="store_true", default=None, help=text)
        elif setting.name == "labels":
            parser.add_argument("--label", dest="labels", action="append", help=text)
        else:
            parser.add_argument(flag, help=text)
    return vars(parser.parse_args(argv))


async def _run(agent: Agent) -> int:
    """As ``farshore-agent run``: until SIGTERM or Ctrl-C; 1 when the agent broke."""
    running = asyncio.create_task(agent.run())
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    broke = running.done()
    waiting.cancel()
    try:
        await agent.stop()
    finally:
        await running
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
