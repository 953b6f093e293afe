"""``packages``: Debian packages, asked for by dpkg-query, brought about by apt-get."""

import re
import shutil
from collections.abc import Sequence
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS, PackageDocument
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.model import Change, HandlerTools, Site
from farshore_edge.errors import ConfigurationError

QUERY_TIMEOUT_S = 30.0
APT_TIMEOUT_S = 900.0
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "--allow-downgrades")
APT_OPTIONS = ("-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=60")
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]+")


class Packages:
    document = "packages"
    kind = DOCUMENTS["packages"]
    order = 10
    volatile = False

    def __init__(
        self,
        tools: HandlerTools,
        *,
        query_options: Sequence[str] = (),
        apt_options: Sequence[str] = (),
    ) -> None:
        """The options point dpkg and apt elsewhere than to this machine's own packages."""
        self._tools = tools
        self._programs = tools.programs
        self._query = ("dpkg-query", *query_options)
        self._apt = (*APT, *APT_OPTIONS, *apt_options)

    def paths(self, document: dict[str, PackageDocument]) -> Sequence[str]:  # noqa: ARG002 # the contract
        return ()

    async def plan(self, document: dict[str, PackageDocument], site: Site) -> Sequence[Change]:  # noqa: ARG002 # the contract
        if not document:
            return ()
        self._tools.check_may_run(pointer((self.document,)))
        if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
            message = "this machine has no dpkg and apt"
            raise ConfigurationError("unsupported", message, pointer((self.document,)))
        for name, entry in document.items():
            _check(name, entry, pointer((self.document, name)))
        installed = await self._installed(list(document))
        changes = []
        for name, entry in document.items():
            change = _change(name, entry, installed.get(name))
            if change is not None:
                changes.append(change)
        return changes

    async def _installed(self, names: list[str]) -> dict[str, str]:
        """Version by name, of what is installed whole."""
        known = {}
        for name in names:  # together, an unknown one would hide which of them it was
            ended = await self._programs.run(
                [*self._query, "-W", "-f=${db:Status-Status} ${Version}\\n", "--", name],
                timeout_s=QUERY_TIMEOUT_S,
                env=ENVIRONMENT,
            )
            for line in ended.output.splitlines():
                status, _, version = line.partition(" ")
                if ended.code == 0 and status == "installed":
                    known[name] = version
        return known

    async def stage(self, change: Change) -> None:
        """Whether apt could do it: a missing package is found before anything was changed."""
        await self._run(change, change.want["version"], "--simulate")

    async def apply(self, change: Change) -> None:
        await self._run(change, change.want["version"])

    async def undo(self, change: Change) -> None:
        before = change.before["version"]
        if (await self._installed([change.name])).get(change.name) != before:
            await self._run(change, before)

    async def _run(self, change: Change, version: str | None, *options: str) -> None:
        """``version`` None: it is removed; empty: whichever apt prefers."""
        if version is None:
            words = ["remove", "--", change.name]
        else:
            words = ["install", "--", f"{change.name}={version}" if version else change.name]
        argv = [*self._apt, *options, *words]
        ended = await self._programs.run(argv, timeout_s=APT_TIMEOUT_S, env=ENVIRONMENT)
        if ended.code != 0:
            how = "no end in time" if ended.code is None else f"exit code {ended.code}"
            message = f"apt-get {words[0]} {words[2]}: {how}: {ended.output.strip()}"
            raise ConfigurationError("package_failed", message, change.path)

    async def discard(self, change: Change, *, kept: bool) -> None:
        """Nothing was prepared."""


def _check(name: str, entry: PackageDocument, at: str) -> None:
    if _PACKAGE.fullmatch(name) is None:
        raise ConfigurationError("bad_document", f"{name}: is no name of a package", at)
    if entry.version is not None and _VERSION.fullmatch(entry.version) is None:
        raise ConfigurationError("bad_document", f"{entry.version}: is no version", at)
    if entry.version is not None and entry.state == "absent":
        raise ConfigurationError("bad_document", "an absent package has no version", at)


def _change(name: str, entry: PackageDocument, found: str | None) -> Change | None:
    if entry.state == "absent":
        if found is None:
            return None
        expected, version = "absent", None
    else:
        if found is not None and entry.version in (None, found):
            return None
        expected, version = f"present {entry.version or ''}".strip(), entry.version or ""
    return Change(
        document="packages",
        name=name,
        path=pointer(("packages", name)),
        expected=expected,
        found="absent" if found is None else f"present {found}",
        want={"version": version},
        before={"version": found},
    )


def make(tools: HandlerTools) -> Any:
    return Packages(tools)
