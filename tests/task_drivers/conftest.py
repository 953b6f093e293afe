from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from task_drivers.podman import Podman, podman
from task_drivers.rigs import ContainerRig, ProcessRig, PythonRig, Rig


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine that is busy with all other tests an engine may take long to answer."""
    monkeypatch.setattr("farshore_edge.tasks.drivers.container.driver.GREET_S", 120.0)
    monkeypatch.setattr("farshore_edge.tasks.drivers.container.running.KILLED_S", 120.0)
    monkeypatch.setattr("farshore_edge.tasks.drivers.container.keeping.STARTED_S", 120.0)


@pytest.fixture(scope="session")
def engine() -> Iterator[Podman]:
    yield from podman()


def _container(request: pytest.FixtureRequest, data: Path) -> Rig:
    return ContainerRig(request.getfixturevalue("engine"), data)


def _process(request: pytest.FixtureRequest, data: Path) -> Rig:
    return ProcessRig(data)


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


def _python(request: pytest.FixtureRequest, data: Path) -> Rig:
    return PythonRig(data, request.getfixturevalue("environments"))


RIGS: dict[str, Callable[[pytest.FixtureRequest, Path], Rig]] = {
    "process": _process,
    "python": _python,
    "container": _container,
}


@pytest.fixture(params=list(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[request.param](request, tmp_path)
    yield made
    made.close()
