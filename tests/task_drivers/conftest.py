from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from task_drivers.rigs import ContainerRig, Podman, ProcessRig, PythonRig, Rig, podman


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    yield from podman(tmp_path_factory.mktemp("podman"))


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
