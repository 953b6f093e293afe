"""What the conformance suite needs of each driver: how it is made, and how it runs a shell script."""

import dataclasses
import os
import signal
import zipfile
from pathlib import Path
from typing import Any, Protocol

from farshore_edge.tasks.drivers.limits.choice import host_cages
from farshore_edge.tasks.drivers.model import Driver, Work
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.drivers.python.driver import PythonDriver
from farshore_edge.tasks.drivers.python.environments import Environments
from farshore_protocol.tasks.settings import ProcessSettings, PythonSettings
from farshore_protocol.tasks.spec import Limits, Requests
from task_drivers.podman import Podman

NO_LIMITS = Limits()


class Rig(Protocol):
    """``holds``: limits (fields of ``Limits``) that this driver keeps on this machine. ``first``: its
    program is the first process of its own world, and gets no signal that it does not handle."""

    name: str
    holds: frozenset[str]
    first: bool

    def driver(self) -> Driver:
        """Another one each time, as after another start of the agent with the same data."""
        ...

    def run(self, script: str) -> Any:
        """Settings by which it runs a script of ``/bin/sh``."""
        ...

    def nonsense(self) -> Any:
        """Settings of a program that does not exist."""
        ...

    def furnish(self, work: Work) -> None:
        """Puts into its folder what the program needs."""
        ...

    def close(self) -> None: ...


def work(folder: Path, run: Any, *, id: str = "suite.0.7", **more: Any) -> Work:
    """As the supervisor lays it out: everything of an instance in a directory of its id."""
    home = folder / id
    for each in ("work", "state"):
        (home / each).mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "FARSHORE_TASK": "suite",
        "FARSHORE_RESULT": str(home / "work" / "result"),
    }
    made = Work(
        id=id,
        run=run,
        folder=home / "work",
        state=home / "state",
        output=home / "output",
        env=env,
        requests=Requests(),
        limits=NO_LIMITS,
    )
    return dataclasses.replace(made, **more)


class ContainerRig:
    name = "container"
    holds = frozenset({"cpu_cores", "memory_bytes", "pids"})
    first = True

    def __init__(self, podman: Podman, data: Path) -> None:
        self._podman = podman
        self._data = data

    def driver(self) -> Driver:
        from farshore_edge.tasks.drivers.container.driver import ContainerDriver

        return ContainerDriver(self._data, [self._podman.socket])

    def run(self, script: str) -> Any:
        from farshore_protocol.tasks.settings import ContainerSettings

        return ContainerSettings(
            image=self._podman.image, command=["/bin/sh", "-c", script], network="none"
        )

    def nonsense(self) -> Any:
        return dataclasses.replace(self.run(""), command=["/no/such/program"])

    def furnish(self, work: Work) -> None:
        return None

    def close(self) -> None:
        return None


class ProcessRig:
    name = "process"
    first = False

    def __init__(self, data: Path) -> None:
        self._data = data
        self.cages = host_cages(data)
        held = {"cpu": "cpu_cores", "memory": "memory_bytes", "pids": "pids"}
        self.holds = frozenset(held[each] for each in held if each in self.cages.controllers)

    def driver(self) -> Driver:
        return ProcessDriver(self._data, self.cages)

    def run(self, script: str) -> Any:
        return ProcessSettings(argv=["/bin/sh", "-c", script])

    def nonsense(self) -> Any:
        return ProcessSettings(argv=["/no/such/program"])

    def furnish(self, work: Work) -> None:
        return None

    def close(self) -> None:
        return None


class PythonRig(ProcessRig):
    """Its wheel's function becomes a shell. ``environments`` are shared by the tests, as by runs."""

    name = "python"

    def __init__(self, data: Path, environments: Path) -> None:
        super().__init__(data)
        self._environments = environments

    def driver(self) -> Driver:
        return PythonDriver(super().driver(), Environments(self._environments))

    def run(self, script: str) -> Any:
        return PythonSettings(entry="suite_program:main", args=(script,), wheel=WHEEL)

    def nonsense(self) -> Any:
        return dataclasses.replace(self.run(""), entry="no_such_module:main")

    def furnish(self, work: Work) -> None:
        make_wheel(work.folder / WHEEL, "suite_program", PROGRAM)


WHEEL = "suite_program-1.0-py3-none-any.whl"
PROGRAM = "import os, sys\ndef main():\n    os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])\n"


def make_wheel(path: Path, module: str, text: str, requires: str = "") -> None:
    """A wheel of one module, the same bytes each time."""
    info = f"{module}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    members = {
        f"{module}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*members, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as packed:
        for name, body in members.items():
            packed.writestr(zipfile.ZipInfo(name), body)


def living(argument: str) -> list[int]:
    """The processes of this machine, in containers or not, that were started with this argument."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                words = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if argument.encode() in words and int(each.name) != os.getpid():
                found.append(int(each.name))
    return found


def end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
