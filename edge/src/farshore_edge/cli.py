"""``farshore-agent``: the agent's command line. Logging is set up here and nowhere else."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farshore_protocol.garbage import YOUNG_AT_NODE, settle

from farshore_edge import VERSION
from farshore_edge.errors import EdgeError, SettingsError
from farshore_edge.logtail import LogTail
from farshore_edge.settings import DOCS, Loaded, Settings, load

if TYPE_CHECKING:
    from farshore_edge.app import Agent
    from farshore_edge.power import HostPower

log = logging.getLogger(__name__)

RESTART_WITHIN_S = 40.0
"""For an orderly stop before a restart, beside ``stop_grace_s``."""
VALUE_CHARS = 1_000
"""Of one field in a log line."""

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
}


class _Fields(logging.Formatter):
    """A fixed message, then the fields that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k != "taskName"}
        return line + "".join(f" {key}={_plain(value)}" for key, value in extra.items())


def _plain(value: object) -> str:
    """A value on one line: what came over the wire must not write log lines of its own."""
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= VALUE_CHARS else text[:VALUE_CHARS] + "…"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farshore-agent",
        description="Farshore's agent for edge nodes.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "run the agent until SIGTERM or Ctrl-C"),
        ("settings", "print every setting with where its value comes from"),
        ("policy", "check the policy file, and say what the node would do with a command"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--settings", metavar="FILE", type=Path, help="a TOML file")
        for setting in fields(Settings):
            _add_flag(command, setting.name)
        if name == "settings":
            command.add_argument("--json", action="store_true", help="as JSON")
        if name == "policy":
            command.add_argument("verb", nargs="?", help="a verb of the agent's own")
            command.add_argument("args", nargs="?", default="{}", help="its arguments, as JSON")
    return parser


def _add_flag(command: argparse.ArgumentParser, name: str) -> None:
    flag, text = "--" + name.replace("_", "-"), DOCS[name].replace("%", "%%")
    if name in {"dev", "config_programs"}:
        command.add_argument(flag, action="store_true", default=None, help=text)
    elif name == "labels":
        command.add_argument("--label", dest=name, action="append", metavar="K=V", help=text)
    elif name == "devices":
        command.add_argument("--device", dest=name, action="append", metavar="NAME=PATH", help=text)
    elif name.endswith("_roots") or name == "probe_targets":
        what = "HOST" if name == "probe_targets" else "FOLDER"
        command.add_argument(
            flag.removesuffix("s"), dest=name, action="append", metavar=what, help=text
        )
    else:
        command.add_argument(flag, dest=name, metavar="VALUE", help=text)


def main(argv: Sequence[str] | None = None) -> int:
    options = vars(_parser().parse_args(argv))
    asked = options.pop("verb", None), options.pop("args", "{}")
    command, file, as_json = (
        options.pop("command"),
        options.pop("settings"),
        options.pop("json", False),
    )
    try:
        loaded = load(options, os.environ, file)
        if command == "settings":
            _print_settings(loaded, as_json)
            return 0
        if command == "policy":
            return _explain(loaded.settings, *asked)
        tail = _set_up_logging(loaded.settings.log_level)
        given = len(sys.argv) - 2 if argv is None else None
        return asyncio.run(_run(loaded.settings, given, tail))
    except SettingsError as exc:
        sys.stderr.write(f"farshore-agent: {exc}\n")
        return 2
    except EdgeError as exc:
        sys.stderr.write(f"farshore-agent: {exc}\n")
        return 1


def _print_settings(loaded: Loaded, as_json: bool) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for setting in fields(Settings):
        value = getattr(loaded.settings, setting.name)
        rows[setting.name] = {"value": value, "origin": loaded.origin[setting.name]}
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2, default=dict) + "\n")
        return
    width = max(map(len, rows))
    values = {name: str(row["value"]) for name, row in rows.items()}
    value_width = max(map(len, values.values()))
    for name, row in rows.items():
        sys.stdout.write(f"{name:<{width}}  {values[name]:<{value_width}}  {row['origin']}\n")


def _set_up_logging(level: str) -> LogTail:
    handlers = logging.StreamHandler(), LogTail()
    for handler in handlers:
        handler.setFormatter(_Fields("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=handlers)
    return handlers[1]


def _explain(settings: Settings, verb: str | None, args: str) -> int:
    """0: the file is right, or the command is taken; 1: it is not taken; 2: the file is wrong."""
    from farshore_edge.commands.explain import explained

    code, text = explained(settings, verb, args)
    (sys.stderr if code == 2 else sys.stdout).write(text + "\n")
    return code


async def _run(settings: Settings, options: int | None, tail: LogTail) -> int:
    """``options``: how many words of this process's arguments stand after ``run``; None where it was
    not started by them."""
    from farshore_edge.host import host_agent
    from farshore_edge.power import HostPower, start_argv

    power = HostPower(
        reboot_command=settings.reboot_argv,
        argv=None if options is None else start_argv(),
        options=options or 0,
    )
    agent = host_agent(settings, power=power, log_lines=tail.lines)
    settle(YOUNG_AT_NODE)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(agent.run())
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    waiting = asyncio.create_task(asked.wait())
    restarting = asyncio.create_task(power.restart_wanted.wait())
    await asyncio.wait([running, waiting, restarting], return_when=asyncio.FIRST_COMPLETED)
    broke = running.done()
    waiting.cancel()
    restarting.cancel()
    if power.restart_wanted.is_set() and not asked.is_set():
        await _put_away(agent, running, settings.stop_grace_s + RESTART_WITHIN_S)
        return _start_anew(power)
    try:
        await agent.stop()
    finally:
        await running
    log.info("stopped")
    return 1 if broke else 0


async def _put_away(agent: "Agent", running: asyncio.Task[None], most_s: float) -> None:
    """Orderly as far as it goes: an agent that hangs is why somebody restarts it."""
    try:
        async with asyncio.timeout(most_s):
            try:
                await agent.stop()
            finally:
                await running
    except Exception:
        log.exception("the agent did not stop orderly; it starts anew all the same")
    else:
        log.info("stopped")


def _start_anew(power: "HostPower") -> int:
    """From within the loop: its end would wait for threads that a bad disk holds."""
    from farshore_edge.power import RESTART_CODE

    try:
        power.start_anew()
    except OSError as exc:
        log.critical("the agent can't start itself anew", extra={"error": str(exc)})
        return RESTART_CODE
