from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from task_drivers.rigs import ContainerRig, Podman, Rig, podman


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    yield from podman(tmp_path_factory.mktemp("podman"))


def _container(request: pytest.FixtureRequest, data: Path) -> Rig:
    return ContainerRig(request.getfixturevalue("engine"), data)


RIGS: dict[str, Callable[[pytest.FixtureRequest, Path], Rig]] = {"container": _container}


@pytest.fixture(params=list(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[request.param](request, tmp_path)
    yield made
    made.close()
