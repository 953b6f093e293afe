"""In the place of a driver whose packages are not installed: it says what to install, and runs nothing."""

from collections.abc import Mapping
from typing import Any, NoReturn

from farshore_edge.tasks.drivers.model import DriverError, Work


class Lacking:
    """``remedy``: what to do about it."""

    def __init__(self, name: str, settings: type[Any], missing: ImportError, remedy: str) -> None:
        self.name = name
        self.settings = settings
        self._why = f"the package {missing.name} is not installed; {remedy}"

    async def available(self) -> str | None:
        return self._why

    def _refuse(self) -> NoReturn:
        raise DriverError("unsupported", f"driver {self.name}: {self._why}", permanent=True)

    async def prepare(self, work: Work) -> None:  # noqa: ARG002 # the contract
        self._refuse()

    async def start(self, work: Work) -> NoReturn:  # noqa: ARG002 # the contract
        self._refuse()

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002 # it can't know
        self._refuse()

    async def sweep(self, keep: frozenset[str]) -> list[str]:  # noqa: ARG002 # the contract
        return []

    async def remove(self, work: Work) -> None:  # noqa: ARG002 # the contract
        return None
