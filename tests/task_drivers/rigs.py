"""What the conformance suite needs of each driver: how it is made, and how it runs a shell script."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from farshore_edge.tasks.drivers.limits.choice import host_cages
from farshore_edge.tasks.drivers.model import Driver, Work
from farshore_edge.tasks.drivers.process import ProcessDriver, ProcessSettings
from farshore_edge.tasks.drivers.python.driver import PythonDriver
from farshore_edge.tasks.drivers.python.environments import Environments
from farshore_edge.tasks.drivers.python.settings import PythonSettings
from farshore_protocol.tasks.spec import Limits, Requests
from left_out import leave_out

START_S = 30.0
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


# Podman


CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""The limits are for a machine whose root may not raise any; their halves are equal because Podman 4.3
takes the one for the other."""
APPLETS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "env",
    "id",
    "dd",
    "tail",
    "true",
    "kill",
    "setsid",
    "nc",
    "wget",
)


class Podman:
    """A real Podman with ``runc``, its storage and its service in a folder of the test's, and an image
    that is made here from a static BusyBox."""

    image = "localhost/busybox:suite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "api.sock"
        self._service: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        if os.geteuid() != 0:
            return "containers are tested as root"
        for program in ("podman", "runc", "busybox"):
            if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
                return f"containers are not tested: no {program} here (make system installs it)"
        return None

    def begin(self) -> None:
        (self._folder / "containers.conf").write_text(CONF)
        self._command("import", str(self._rootfs()), self.image)
        self.serve()

    def serve(self) -> None:
        with (self._folder / "service.log").open("ab") as log:
            self._service = subprocess.Popen(
                [*self._argv(), "system", "service", "--time", "0", f"unix://{self.socket}"],
                env=self._env(),
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        until_s = time.monotonic() + START_S
        while not self._answers():
            assert self._service.poll() is None, (self._folder / "service.log").read_text()
            assert time.monotonic() < until_s, "podman's service does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
            except OSError:
                return False
        return True

    def kill_service(self) -> None:
        assert self._service is not None
        self._service.kill()
        self._service.wait(START_S)
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self._command("rm", "--all", "--force", "--time", "0")
        self.kill_service()
        self._command("system", "reset", "--force")

    def containers(self) -> list[str]:
        return self._command("ps", "--all", "--quiet").split()

    def _rootfs(self) -> Path:
        root = self._folder / "rootfs"
        for each in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (root / each).mkdir(parents=True)
        program = shutil.which("busybox")
        assert program is not None
        shutil.copy(program, root / "bin/busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n")
        archive = shutil.make_archive(str(self._folder / "rootfs"), "tar", root)
        return Path(archive)

    def _argv(self) -> list[str]:
        folders = {"--root": "storage", "--runroot": "run", "--tmpdir": "tmp"}
        return [
            "podman",
            *(
                word
                for option, name in folders.items()
                for word in (option, str(self._folder / name))
            ),
        ]

    def _env(self) -> dict[str, str]:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        return {
            "PATH": path,
            "HOME": "/root",
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
        }

    def _command(self, *words: str) -> str:
        done = subprocess.run(
            [*self._argv(), *words], env=self._env(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


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
        from farshore_edge.tasks.drivers.container.settings import ContainerSettings

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


def podman(folder: Path) -> Iterator[Podman]:
    """Leaves the test out where there is none."""
    if (why := Podman.missing()) is not None:
        leave_out(why)
    made = Podman(folder)
    made.begin()
    yield made
    made.close()


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
