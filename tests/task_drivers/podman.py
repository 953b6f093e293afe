"""A real Podman of the tests' own: its storage, locks, network and service lie in one folder, so that any
number of them, of several workers and several copies of this project, work beside each other."""

import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from left_out import leave_out

START_S = 180.0
"""On a machine that is busy with everything else."""
COMMAND_S = 300.0
RUNROOT_CHARS = 50
"""Podman takes no longer one."""

CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
lock_type = "file"
[network]
network_backend = "cni"
network_config_dir = "{folder}/net"
default_network = "podman"
"""
"""The limits are for a machine whose root may not raise any; their halves are equal because Podman 4.3
takes the one for the other. Its locks would else lie in one place for all of root's engines."""
NETWORK = """\
{{
  "cniVersion": "0.4.0",
  "name": "podman",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "{bridge}",
      "isGateway": true,
      "ipMasq": true,
      "ipam": {{
        "type": "host-local",
        "dataDir": "{folder}/leases",
        "routes": [{{"dst": "0.0.0.0/0"}}],
        "ranges": [[{{"subnet": "{subnet}", "gateway": "{gateway}"}}]]
      }}
    }},
    {{"type": "portmap", "capabilities": {{"portMappings": true}}}},
    {{"type": "firewall"}}
  ]
}}
"""
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
    "readlink",
    "setsid",
    "nc",
    "wget",
)


class Podman:
    """With ``runc``, and an image that is made here from a static BusyBox."""

    image = "localhost/busybox:suite"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fsp-", dir="/tmp"))  # a short path
        assert len(str(self._folder / "run")) < RUNROOT_CHARS
        self.socket = self._folder / "api.sock"
        self.bridge = ""
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
        (self._folder / "containers.conf").write_text(CONF.format(folder=self._folder))
        self._network()
        self._command("import", str(self._rootfs()), self.image)
        self.serve()

    def _network(self) -> None:
        """A bridge and a net that nobody else here has: two that are equal would lead astray."""
        (self._folder / "net").mkdir()
        for _ in range(100):
            third, fourth = os.urandom(1)[0], os.urandom(1)[0] & 0xF0
            net = ipaddress.ip_network(f"10.213.{third}.{fourth}/28")
            self.bridge = f"fsp{third:02x}{fourth:02x}"
            if not Path(f"/sys/class/net/{self.bridge}").exists():
                break
        text = NETWORK.format(
            bridge=self.bridge, folder=self._folder, subnet=net, gateway=next(net.hosts())
        )
        (self._folder / "net/87-podman.conflist").write_text(text)

    def serve(self) -> None:
        with (self._folder / "service.log").open("ab") as log:
            self._service = subprocess.Popen(
                [*self._argv(), "system", "service", "--time", "0", f"unix://{self.socket}"],
                env=self._env(),
                cwd=self._folder,  # where memory is short, it leaves a file there
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        until_s = time.monotonic() + START_S
        while not self._answers():
            assert self._service.poll() is None, (self._folder / "service.log").read_text()
            assert time.monotonic() < until_s, (self._folder / "service.log").read_text()
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
        """Nothing of it is left on the machine: no container, no mount, no bridge, no folder."""
        try:
            self._command("rm", "--all", "--force", "--time", "0")
        finally:
            if self._service is not None and self._service.poll() is None:
                self.kill_service()
            self._unmount()
            shutil.rmtree(self._folder, ignore_errors=True)
            if self.bridge and Path(f"/sys/class/net/{self.bridge}").exists():
                subprocess.run(["ip", "link", "delete", self.bridge], check=False)

    def _unmount(self) -> None:
        """The deepest first."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        places = [line.split(" ")[1] for line in lines]
        for place in sorted((p for p in places if p.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False)

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
            [*self._argv(), *words],
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def podman() -> Iterator[Podman]:
    """Leaves the test out where there is none."""
    if (why := Podman.missing()) is not None:
        leave_out(why)
    made = Podman()
    try:
        made.begin()
        yield made
    finally:
        made.close()
