"""Artifacts: there with the right digest or not there, whatever server, network and archive do."""

import asyncio
import contextlib
import hashlib
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from farshore_edge.tasks import artifacts as module
from farshore_edge.tasks.artifacts import HostArtifacts, check_url, inside
from farshore_edge.tasks.drivers.model import DriverError
from farshore_edge.tasks.unpacking import Bounds, UnpackError, unpack
from farshore_protocol.tasks.spec import Artifact
from hypothesis import given
from hypothesis import strategies as st

DEADLINE_S = 30.0
BODY = os.urandom(700_000)


class Shop:
    """A server of files. ``breaks``: how many answers end half-way, ``fails``: how many are 503."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str | None] = []
        self.breaks = self.fails = 0
        self.ranges = True
        self.held = threading.Event()
        self.began = threading.Event()
        self.hold = False
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def offer(self, name: str, body: bytes, **more: bool) -> Artifact:
        self.files[name] = body
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        path = str(more.pop("path", name))
        return Artifact(url=self.url(name), digest=digest, path=path, **more)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append(wanted)
        name = request.path[1:]
        if self.fails:
            self.fails -= 1
            request.send_error(503)
            return
        if name in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[name])
            request.end_headers()
            return
        if name not in self.files:
            request.send_error(404)
            return
        body, begin = self.files[name], 0
        if wanted and self.ranges:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(body):
                request.send_error(416)
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(body) - begin))
        request.end_headers()
        rest = body[begin:]
        if self.breaks:
            self.breaks -= 1
            rest = rest[: len(rest) // 2]
        try:
            request.wfile.write(rest[:300_000])
            if self.hold:
                self.began.set()
                self.held.wait(DEADLINE_S)
            request.wfile.write(rest[300_000:])
        except OSError:
            pass  # whoever asked has gone

    def close(self) -> None:
        self.held.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def fetcher() -> HostArtifacts:
    return HostArtifacts(pause_s=0.01)


async def fetch(fetcher: HostArtifacts, folder: Path, *artifacts: Artifact) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await fetcher.fetch(artifacts, folder)


async def refused(fetcher: HostArtifacts, folder: Path, *artifacts: Artifact) -> DriverError:
    with pytest.raises(DriverError) as found:
        await fetch(fetcher, folder, *artifacts)
    return found.value


async def test_it_lies_where_it_is_wanted(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    plain = shop.offer("model", BODY)
    tool = shop.offer("tool", b"#!/bin/sh\n", path="bin/tool", executable=True)  # type: ignore[arg-type]
    await fetch(fetcher, tmp_path, plain, tool)
    assert (tmp_path / "model").read_bytes() == BODY
    assert stat.S_IMODE((tmp_path / "bin/tool").stat().st_mode) == 0o755
    await fetch(fetcher, tmp_path, plain, tool)
    assert len(shop.asked) == 2, "what is there is not fetched again"
    (tmp_path / "model").write_bytes(b"changed by the task")
    await fetch(fetcher, tmp_path, plain, tool)
    assert (tmp_path / "model").read_bytes() == BODY


async def test_a_wrong_digest_is_told_with_both(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    artifact = shop.offer("model", BODY)
    shop.files["model"] = b"something else"
    error = await refused(fetcher, tmp_path, artifact)
    assert (error.code, error.permanent) == ("bad_digest", True)
    assert artifact.digest in error.detail
    assert f"sha256:{hashlib.sha256(b'something else').hexdigest()}" in error.detail
    assert not (tmp_path / "model").exists()
    assert os.listdir(tmp_path / ".artifacts") == ["lock"]


async def test_what_broke_off_goes_on(shop: Shop, fetcher: HostArtifacts, tmp_path: Path) -> None:
    shop.breaks = 2
    await fetch(fetcher, tmp_path, shop.offer("model", BODY))
    assert (tmp_path / "model").read_bytes() == BODY
    assert shop.asked == [None, f"bytes={len(BODY) // 2}-", f"bytes={len(BODY) * 3 // 4}-"]


async def test_a_server_without_ranges_begins_anew(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    shop.breaks, shop.ranges = 1, False
    await fetch(fetcher, tmp_path, shop.offer("model", BODY))
    assert (tmp_path / "model").read_bytes() == BODY


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 1_000_000], ids=["shorter", "longer"])
async def test_a_beginning_of_another_file_does_no_harm(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path, left: bytes
) -> None:
    artifact = shop.offer("model", BODY)
    (tmp_path / ".artifacts").mkdir()
    (tmp_path / ".artifacts" / f"{artifact.digest.removeprefix('sha256:')}.part").write_bytes(left)
    await fetch(fetcher, tmp_path, artifact)
    assert (tmp_path / "model").read_bytes() == BODY


async def test_a_server_in_trouble_is_asked_again_and_then_given_up(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    artifact = shop.offer("model", BODY)
    shop.fails = 2
    await fetch(fetcher, tmp_path, artifact)
    (tmp_path / "model").unlink()
    shop.fails = 99
    error = await refused(fetcher, tmp_path, artifact)
    assert (error.code, error.permanent) == ("unreachable", False)
    assert "503" in error.detail


async def test_what_is_not_there_is_no_use_to_ask_for_again(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    artifact = shop.offer("model", BODY)
    del shop.files["model"]
    error = await refused(fetcher, tmp_path, artifact)
    assert (error.code, error.permanent, len(shop.asked)) == ("no_artifact", True, 1)


async def test_nobody_answers(fetcher: HostArtifacts, tmp_path: Path) -> None:
    artifact = Artifact(url="http://127.0.0.1:1/a", digest="sha256:" + "0" * 64, path="a")
    error = await refused(fetcher, tmp_path, artifact)
    assert (error.code, error.permanent) == ("unreachable", False)


async def test_more_bytes_than_allowed_are_not_fetched(shop: Shop, tmp_path: Path) -> None:
    error = await refused(HostArtifacts(file_bytes=1000), tmp_path, shop.offer("model", BODY))
    assert (error.code, error.permanent) == ("too_large", True)


async def test_a_redirection_leads_to_no_place_that_could_not_be_asked(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    artifact = shop.offer("model", BODY)
    shop.redirects["model"] = shop.url("moved")
    shop.files["moved"] = BODY
    await fetch(fetcher, tmp_path, artifact)
    (tmp_path / "model").unlink()
    shop.redirects["model"] = "http://192.0.2.1/model"
    assert (await refused(fetcher, tmp_path, artifact)).code == "bad_url"


async def test_a_fetch_that_is_given_up_ends_and_can_go_on(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    shop.hold = True
    artifact = shop.offer("model", BODY)
    fetching = asyncio.create_task(fetcher.fetch((artifact,), tmp_path))
    await asyncio.to_thread(shop.began.wait, DEADLINE_S)
    fetching.cancel()
    await asyncio.wait([fetching])
    assert fetching.cancelled()
    assert not (tmp_path / "model").exists()
    shop.hold = False
    shop.held.set()
    await fetch(fetcher, tmp_path, artifact)
    assert (tmp_path / "model").read_bytes() == BODY


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://host/a", True),
        ("http://127.0.0.1:80/a", True),
        ("http://[::1]/a", True),
        ("http://localhost/a", True),
        ("http://host/a", False),
        ("http://127.0.0.1.host/a", False),
        ("https:///a", False),
    ],
)
def test_https_or_this_machine_itself(url: str, good: bool) -> None:
    if good:
        check_url(url)
    else:
        with pytest.raises(DriverError, match="https://"):
            check_url(url)


# Paths


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/passwd", ".artifacts/x", "a/.."])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with pytest.raises(DriverError) as found:
        inside(tmp_path, path)
    assert (found.value.code, found.value.permanent) == ("bad_path", True)


def test_no_link_of_a_task_leads_out(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/link").symlink_to(tmp_path)
    with pytest.raises(DriverError):
        inside(tmp_path / "work", "link/a")


# Archives


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for member, body in members:
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return data.getvalue()


def entry(name: str, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in members:
            packed.writestr(name, body)
    return data.getvalue()


async def test_archives_are_laid_out_and_replaced(
    shop: Shop, fetcher: HostArtifacts, tmp_path: Path
) -> None:
    first = tar_of((entry("app/main", mode=0o755), b"one"), (entry("old"), b""))
    await fetch(fetcher, tmp_path, shop.offer("a.tgz", first, path="app", unpack=True))  # type: ignore[arg-type]
    assert (tmp_path / "app/app/main").read_bytes() == b"one"
    assert (tmp_path / "app/app/main").stat().st_mode & 0o100
    wheel = shop.offer("a.whl", zip_of(("pkg/x.py", b"x")), path="app", unpack=True)  # type: ignore[arg-type]
    await fetch(fetcher, tmp_path, wheel)
    assert [each.name for each in (tmp_path / "app").iterdir()] == ["pkg"]
    before = len(shop.asked)
    await fetch(fetcher, tmp_path, wheel)
    assert len(shop.asked) == before


LINK = entry("link", type=tarfile.SYMTYPE, linkname="/etc")
ZIP_LINK = zipfile.ZipInfo("link")
ZIP_LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(tar_of((entry("../out"), b"x")), id="tar: above"),
        pytest.param(tar_of((LINK, b""), (entry("link/x"), b"x")), id="tar: through a link"),
        pytest.param(tar_of((entry("dev", type=tarfile.CHRTYPE), b"")), id="tar: a device"),
        pytest.param(tar_of((entry("a"), b"x" * 2000)), id="tar: too large"),
        pytest.param(zip_of(("../out", b"x")), id="zip: above"),
        pytest.param(zip_of(("/out", b"x")), id="zip: absolute"),
        pytest.param(zip_of((ZIP_LINK, b"/etc")), id="zip: a link"),
        pytest.param(zip_of(("a", b"x" * 2000)), id="zip: too large"),
        pytest.param(b"neither", id="no archive"),
        pytest.param(tar_of((entry("a"), os.urandom(900)))[:-500], id="tar: cut off"),
    ],
)
async def test_a_bad_archive_leaves_nothing(shop: Shop, tmp_path: Path, archive: bytes) -> None:
    fetcher = HostArtifacts(unpacked_bytes=1000)
    work = tmp_path / "work"
    work.mkdir()
    error = await refused(fetcher, work, shop.offer("a", archive, unpack=True))
    assert (error.code, error.permanent) == ("bad_archive", True)
    assert os.listdir(tmp_path) == ["work"]
    assert os.listdir(work) == [".artifacts"]


@given(st.binary(max_size=400))
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("unpack")
    (folder / "archive").write_bytes(data)
    with contextlib.suppress(UnpackError):
        unpack(folder / "archive", folder / "into", Bounds(bytes=1000))


def test_the_tries_are_few() -> None:
    assert module.TRIES <= 5, "a supervisor waits for it"
