"""Tiny packages in a repository and a dpkg root of their own: this machine's packages stay as they are."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from edge_config.config_bench import tools
from farshore_edge.config.handlers.packages import Packages


def has_apt() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, ("apt-get", "dpkg-query", "dpkg-deb")))


class Repository:
    """``far-one`` 1.0 and ``far-two`` 1.0 and 2.0."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "machine"
        self._debs = folder / "debs"
        self._apt = folder / "apt"
        admin = self._root / "var/lib/dpkg"
        for made in (admin / "info", admin / "updates", admin / "triggers", self._debs):
            made.mkdir(parents=True)
        for name in ("lists/partial", "cache/archives/partial", "etc"):
            (self._apt / name).mkdir(parents=True)
        (admin / "status").touch()
        (admin / "available").touch()
        packages = [self._build(*each) for each in (("far-one", "1.0"), ("far-two", "1.0"))]
        packages.append(self._build("far-two", "2.0"))
        (self._debs / "Packages").write_text("\n".join(packages))
        (self._apt / "sources.list").write_text(f"deb [trusted=yes] file:{self._debs} ./\n")
        subprocess.run(["apt-get", *self.options(), "update"], check=True, capture_output=True)

    def _build(self, name: str, version: str) -> str:
        tree = self._debs / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "opt").mkdir()
        (tree / "opt" / name).write_text(version)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            f"Maintainer: nobody <nobody@example.org>\nDescription: nothing\n"
        )
        (tree / "DEBIAN" / "control").write_text(control)
        file = f"{name}_{version}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(self._debs / file)],
            check=True,
            capture_output=True,
        )
        made = (self._debs / file).read_bytes()
        digest = hashlib.sha256(made).hexdigest()
        return f"{control}Filename: ./{file}\nSize: {len(made)}\nSHA256: {digest}\n"

    def options(self) -> list[str]:
        settings = {
            "Dir::Etc::sourcelist": self._apt / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self._apt / "lists",
            "Dir::Cache": self._apt / "cache",
            "Dir::State::extended_states": self._apt / "extended_states",
            "Dir::State::status": self._root / "var/lib/dpkg/status",
            "Dir::Log": self._apt,
            "DPkg::Options::": f"--root={self._root}",
            "APT::Sandbox::User": "root",
            "DPkg::Path": os.environ["PATH"],
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")] + [
            "-o",
            "DPkg::Options::=--force-not-root",
        ]

    def handler(self) -> Packages:
        return Packages(
            tools(self._root),
            query_options=[f"--admindir={self._root}/var/lib/dpkg"],
            apt_options=self.options(),
        )

    def installed(self) -> dict[str, str]:
        folder = self._root / "opt"
        return {p.name: p.read_text() for p in folder.iterdir()} if folder.exists() else {}
