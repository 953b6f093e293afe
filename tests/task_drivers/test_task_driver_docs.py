"""docs/task-drivers.md lists the settings that exist, and nothing else; the drivers of a real machine."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.tasks.drivers import container
from farshore_edge.tasks.drivers.host import GROUP, Site, host_drivers, host_site
from farshore_edge.tasks.drivers.lacking import Lacking
from farshore_edge.tasks.drivers.limits.model import OpenCages
from farshore_edge.tasks.drivers.model import Driver, DriverError
from farshore_protocol.tasks.settings import (
    ContainerSettings,
    DaskSettings,
    ProcessSettings,
    PythonSettings,
)
from task_drivers.rigs import work

PAGE = (Path(__file__).parents[2] / "docs/task-drivers.md").read_text()
SETTINGS: dict[str, type[Any]] = {
    "process": ProcessSettings,
    "python": PythonSettings,
    "container": ContainerSettings,
    "dask": DaskSettings,
}


def named(section: str) -> set[str]:
    """The settings in the table of a driver's section."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = text.split("| setting |")[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}


@pytest.mark.parametrize("driver", SETTINGS)
def test_the_page_has_every_setting_and_no_other(driver: str) -> None:
    assert named(driver) == {each.name for each in fields(SETTINGS[driver])}


def test_a_real_machine_has_them_all(tmp_path: Path) -> None:
    drivers = {
        each.name: each.settings
        for each in host_drivers(host_site(tmp_path, tmp_path, OpenCages()))
    }
    assert drivers == SETTINGS
    assert list(tmp_path.iterdir()) == [], "nothing is made before the first task"
    assert GROUP in PAGE


class Point:
    """An entry point."""

    def __init__(self, name: str, made: Any) -> None:
        self.name = name
        self._made = made

    def load(self) -> Any:
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


async def test_packages_bring_along_further_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(site: Site) -> Driver:
        assert site.folder == tmp_path
        return container.make(site.data, {})

    def broken(site: Site) -> Driver:
        raise RuntimeError("no such device")

    points = [
        Point("wasm", make),
        Point("process", make),
        Point("broken", broken),
        Point("slurm", ModuleNotFoundError("No module named 'slurm'", name="slurm")),
    ]

    def entry_points(*, group: str) -> list[Point]:
        assert group == GROUP
        return points

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    found = host_drivers(host_site(tmp_path, tmp_path, OpenCages()))
    assert len(found) == len(SETTINGS) + 2, "the second of a name and the broken one are left out"
    (lacking,) = (each for each in found if isinstance(each, Lacking))
    assert "slurm" in str(await lacking.available())
    with pytest.raises(DriverError) as refused:
        await lacking.prepare(work(tmp_path, None))
    assert (refused.value.code, refused.value.permanent) == ("unsupported", True)
