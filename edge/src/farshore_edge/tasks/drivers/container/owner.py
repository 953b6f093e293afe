"""Whose the instance's folder must be, so that the container's user can work in it.

A user is named as the image knows it, and the folder is the node's: its number is what both share.
"""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farshore_edge.tasks.drivers.container.engine import Engine, EngineError
from farshore_edge.tasks.drivers.model import DriverError

USERS_FILE = "/etc/passwd"
USERS_BYTES = 1024 * 1024


def user_of(asked: str | None, image: Mapping[str, Any]) -> str | None:
    """``USER`` or ``USER:GROUP``; None for root. Pure."""
    user = asked or (image.get("Config") or {}).get("User") or ""
    return None if user.partition(":")[0] in ("", "0", "root") else user


def numbers(user: str, passwd: str) -> tuple[int, int] | None:
    """The user's number and its group's (-1: as it is), from the text of ``/etc/passwd``. Pure."""
    name, _, group = user.partition(":")
    if name.isdecimal():
        return int(name), int(group) if group.isdecimal() else -1
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[0] == name and (fields[2] + fields[3]).isdecimal():
            return int(fields[2]), int(fields[3])
    return None


async def hand_over(engine: Engine, container: str, user: str, folder: Path) -> None:
    """Gives the folder to the container's user. Raises DriverError, EngineGoneError."""
    found = numbers(user, "")
    if found is None:
        found = numbers(user, await _passwd(engine, container))
    if found is None:
        message = f"user {user}: the image has no such user; expected one of its {USERS_FILE}, or a number"
        raise DriverError("no_user", message, permanent=True)
    try:
        os.chown(folder, *found)
    except PermissionError as exc:
        if os.geteuid() == 0:
            raise DriverError(
                "not_permitted", f"{folder}: can't be given to {user}: {exc}"
            ) from exc
        # An agent that is not root has an engine that maps users; the folder stays its own.


async def _passwd(engine: Engine, container: str) -> str:
    """Empty where the image has none."""
    data = b""
    query = {"path": USERS_FILE}
    try:
        async with engine.stream("GET", f"/containers/{container}/archive", query) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > USERS_BYTES:
                    return ""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    return file.read(USERS_BYTES).decode(errors="replace")
    except (EngineError, tarfile.TarError):
        pass
    return ""
