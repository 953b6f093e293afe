"""Restarts of the real agent and reboots of the real machine.

The agent starts anew by ``execv``: the same process becomes a new agent with the same arguments and
environment, so that it needs no supervisor, and one that there is (systemd) sees no end. Where even
that fails, it exits with ``RESTART_CODE``, for a supervisor to start it again.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from farshore_edge.config.handlers.services import booted
from farshore_edge.config.programs import HostPrograms

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
RESTART_CODE = 75
"""EX_TEMPFAIL of sysexits.h: try again."""
CHECK_S = 60.0
WORDS_CHARS = 600


def start_argv() -> list[str]:
    """How this process was started, with the interpreter's own options."""
    return [sys.executable, *sys.orig_argv[1:]]


class HostPower:
    """The power over this process and this machine.

    ``argv``: how this process was started, its last words being ``run`` and its options; None where
    it can't be started anew. ``reboot_command``: empty for the machine's own.
    """

    def __init__(
        self,
        *,
        reboot_command: Sequence[str] = (),
        boot_id: Path | None = None,
        argv: Sequence[str] | None = None,
        options: int = 0,
    ) -> None:
        """``options``: how many of the last words of ``argv`` are the agent's options after ``run``."""
        self._reboot_command = list(reboot_command)
        self._boot_id = boot_id or BOOT_ID
        self._argv = None if argv is None else list(argv)
        self._options = options
        self.restart_wanted = asyncio.Event()

    def boot_id(self) -> str | None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self._boot_id.read_text("ascii").strip() or None
        return None

    async def reboot(self, *, timeout_s: float) -> str | None:
        argv = self._reboot_command or _own_command()
        try:
            ended = await HostPrograms().run(argv, timeout_s=timeout_s)
        except (OSError, ValueError) as exc:
            return f"{argv[0]} can't be started: {exc}; setting reboot_command names another"
        if ended.code is None:
            return f"{argv[0]} did not end within {timeout_s:g} s"
        if ended.code > 0:  # one that a signal ended may have been ended by the reboot
            said = ended.output.strip()[-WORDS_CHARS:]
            return f"{argv[0]} ended with exit code {ended.code}: {said}"
        return None

    async def may_restart(self, *, timeout_s: float) -> str | None:
        """Reads the settings as a new start would: one that can't be used ends every start."""
        if self._argv is None:
            return "it was not started by farshore-agent run, and can't start itself anew"
        split = len(self._argv) - self._options
        argv = [*self._argv[: split - 1], "settings", *self._argv[split:]]
        try:
            ended = await HostPrograms().run(argv, timeout_s=min(timeout_s, CHECK_S))
        except (OSError, ValueError) as exc:
            return f"{argv[0]} can't be started: {exc}"
        if ended.code == 0:
            return None
        said = ended.output.strip()[-WORDS_CHARS:]
        return f"a new start would fail ({ended.code}): {said}"

    def restart(self) -> None:
        self.restart_wanted.set()

    def start_anew(self) -> NoReturn:
        """This process becomes the next agent. Raises OSError where it can't."""
        if self._argv is None:
            raise OSError("it was not started by farshore-agent run")
        for handler in logging.getLogger().handlers:
            handler.flush()
        os.execv(self._argv[0], self._argv)  # noqa: S606 # itself, as it was started


def _own_command() -> list[str]:
    return ["systemctl", "reboot"] if booted() else ["reboot"]
