"""Where a configuration may write, and that no link leads it elsewhere."""

import os
import stat
from pathlib import Path

import pytest
from farshore_edge.config.folders import Folders
from farshore_edge.config.placing import Placer, Wanted
from farshore_edge.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def code(folders: Folders, path: object) -> str | None:
    try:
        folders.check(str(path), "")
    except ConfigurationError as exc:
        return exc.code
    return None


def test_only_below_the_roots_and_never_in_the_agents_own_folder(tmp_path: Path) -> None:
    data = tmp_path / "agent"
    everything = Folders((Path("/"), data / "files"), data)
    assert code(everything, tmp_path / "x") is None
    assert code(everything, data / "agent.db") == "outside_roots"
    assert code(everything, data / "config" / "state.json") == "outside_roots"
    assert code(everything, data / "files" / "x") is None
    assert code(Folders((), data), tmp_path / "x") == "outside_roots"
    assert code(Folders((tmp_path / "ro",), data), tmp_path / "root" / "x") == "outside_roots"


def test_links_are_followed_before_it_is_judged(root: Path, tmp_path: Path) -> None:
    (root / "inner").mkdir()
    (root / "good").symlink_to(root / "inner")
    (root / "bad").symlink_to(tmp_path)
    (root / "round").symlink_to(root / "round")
    folders = Folders((root,), tmp_path / "agent")
    assert code(folders, root / "good" / "x") is None
    assert code(folders, root / "bad" / "x") == "outside_roots"
    for path in (f"{root}//x", f"{root}/./x", f"{root}/a/../x", "x", f"{root}/x/"):
        assert code(folders, path) == "bad_path", path


@given(st.lists(st.sampled_from(["..", ".", "a", "", "root", "rooted"]), min_size=1, max_size=8))
def test_no_path_that_passes_lies_outside(steps: list[str]) -> None:
    root = Path("/nowhere/root")
    path = "/nowhere/root/" + "/".join(steps)
    if code(Folders((root,), Path("/elsewhere")), path) is None:
        assert Path(path).resolve().is_relative_to(root)


@pytest.mark.parametrize("when", ["stage", "apply", "undo"])
def test_a_link_that_is_put_in_place_meanwhile_leads_nowhere(
    root: Path, tmp_path: Path, when: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("not mine")
    (root / "d").mkdir()
    (root / "d" / "x").write_text("old")
    placer = Placer(Folders((root,), tmp_path / "agent"), tmp_path / "agent" / "backup")
    change = placer.plan("files", "x", "", Wanted(path=str(root / "d" / "x"), content=b"new"))
    assert change is not None
    steps = ["stage", "apply", "undo"]
    for step in steps[: steps.index(when)]:
        getattr(placer, step)(change)
    (root / "d").rename(root / "away")
    (root / "d").symlink_to(outside)
    with pytest.raises(ConfigurationError):
        getattr(placer, when)(change)
    assert (outside / "x").read_text() == "not mine"
    assert os.listdir(outside) == ["x"]


def test_modes_are_as_written_whatever_the_umask(root: Path, tmp_path: Path) -> None:
    placer = Placer(Folders((root,), tmp_path / "agent"), tmp_path / "agent" / "backup")
    wanted = Wanted(path=str(root / "d" / "x"), content=b"new", mode=0o664)
    before = os.umask(0o077)
    try:
        change = placer.plan("files", "x", "", wanted)
        assert change is not None
        placer.stage(change)
        placer.apply(change)
        placer.discard(change, kept=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d" / "x").stat().st_mode) == 0o664
    assert placer.plan("files", "x", "", wanted) is None
    (root / "d" / "x").write_text("by hand")
    again = placer.plan("files", "x", "", wanted)
    assert again is not None
    placer.stage(again)
    assert stat.S_IMODE((tmp_path / "agent" / "backup").stat().st_mode) == 0o700


def test_a_root_agent_gives_files_to_whom_it_should(root: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may")
    placer = Placer(Folders((root,), tmp_path / "agent"), tmp_path / "agent" / "backup")
    (root / "x").write_text("old")
    os.chown(root / "x", 1, 2)
    wanted = Wanted(path=str(root / "x"), content=b"new", uid=3)
    change = placer.plan("files", "x", "", wanted)
    assert change is not None
    placer.stage(change)
    placer.apply(change)
    assert (root / "x").stat().st_uid == 3
    placer.undo(change)
    found = (root / "x").stat()
    assert ((root / "x").read_text(), found.st_uid, found.st_gid) == ("old", 1, 2)
