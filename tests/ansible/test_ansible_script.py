"""What is sent to a node, run in this machine's own shell: bytes in, bytes out, bounded messages."""

import json
import os
import pwd
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from farshore_center.ansible import script
from hypothesis import given, settings
from hypothesis import strategies as st

CENTER_TAKES = 100 * 1024 - 1024
BYTES = bytes(range(256)) * 5


class Host:
    """Plays the node: runs arguments of ``exec`` as the agent would."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def exec(self, args: dict[str, Any], **env: str) -> subprocess.CompletedProcess[str]:
        assert len(json.dumps(args, ensure_ascii=False).encode()) <= CENTER_TAKES
        stdin = args.get("stdin")
        return subprocess.run(
            args["argv"],
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **args.get("env", {}), **env},
            timeout=20,
        )

    def run(self, cmd: str, stdin: bytes | None = None, **env: str) -> tuple[str, int, bytes]:
        """How it was written, exit code, output."""
        call = script.call(cmd, stdin, "~/kept")
        for blob in call.blobs:
            self.send(blob.data)
        done = self.exec(call.args, **env)
        kind, out = script.unpacked(done.stdout)
        assert out is not None
        return kind, done.returncode, out

    def send(self, data: bytes, out: str = "") -> None:
        digest = script.sha256(data)
        for piece in script.pieces(data):
            done = self.exec(script.keep_piece("~/kept", f"{digest}.part", piece))
            assert done.returncode == 0, done.stderr
        assert self.run(script.join("~/kept", f"{digest}.part", digest, out))[1] == 0


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("cmd", "stdin", "code", "out"),
    [
        pytest.param("printf 'a\\n'; exit 3", None, 3, b"a\n", id="an exit code"),
        pytest.param("cat", b"text \xc3\xbc", 0, b"text \xc3\xbc", id="text on standard input"),
        pytest.param("cat", b"", 0, b"", id="empty standard input"),
        pytest.param("cat", BYTES, 0, BYTES, id="bytes that are no text"),
        pytest.param("cat", b"a\n" + b"x" * 200_000 + b"\nb", 0, b"a\n" + b"x" * 200_000 + b"\nb",
                     id="a long line between short ones"),
        pytest.param("cat", b"ab\n" * 60_000, 0, b"ab\n" * 60_000, id="very many short lines"),
        pytest.param("kill -9 $$", None, 137, b"", id="a signal"),
        pytest.param("true", b"x" * 300_000, 0, b"", id="input that nobody reads"),
        pytest.param("echo \"$dir$cmd$plan$part\"; env | grep -c FARSHORE", b"x" * 200_000 + b"\ny",
                     1, b"\n0\n", id="nothing of the script shows"),
        pytest.param("echo 'it'\"'\"'s $HOME' \"$1\"", None, 0, b"it's $HOME \n", id="quotes"),
    ],
)  # fmt: skip
def test_a_program_gets_its_input_and_gives_its_output(
    host: Host, cmd: str, stdin: bytes | None, code: int, out: bytes
) -> None:
    assert host.run(cmd, stdin) == (script.DONE, code, out)


def test_it_begins_at_home_and_finds_one_without_being_told(host: Host) -> None:
    assert host.run("pwd")[2].decode().strip() == str(host.home)
    own = pwd.getpwuid(os.getuid()).pw_dir
    assert host.run('echo "$HOME"', HOME="")[2].decode().strip() == own


def test_a_node_that_lost_what_it_kept_runs_nothing_and_says_so(host: Host) -> None:
    call = script.call("touch ran; cat", b"x" * 200_000, "~/kept")
    kind, out = script.unpacked(host.exec(call.args).stdout)
    assert (kind, out) == (script.MISSING, b"")
    assert not (host.home / "ran").exists()


def test_without_gzip_output_comes_as_text(host: Host, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("id", "cat", "cut", "getent"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    assert host.run("echo hi; exit 2", PATH=str(tools)) == (script.PLAIN, 2, b"hi\n")


@settings(max_examples=15)
@given(st.integers(0, 700_000), st.sampled_from(["zeros", "random", "mixed"]), st.integers(0, 99))
def test_pieces_fit_into_messages_and_make_the_whole(size: int, kind: str, seed: int) -> None:
    noise = random.Random(seed).randbytes(size)
    data = {"zeros": bytes(size), "random": noise, "mixed": noise[: size // 2] + bytes(size // 2)}[
        kind
    ]
    found = list(script.pieces(data))
    offsets = [int(piece.name.split("-")[0]) for piece in found]
    lengths = [int(piece.name.split("-")[1]) for piece in found]
    assert offsets == [sum(lengths[:n]) for n in range(len(lengths))]
    assert sum(lengths) == len(data)
    assert [p.name for p in found] == sorted(p.name for p in found), "ls gives their order"
    assert found == list(script.pieces(data)), "the cuts depend on the data alone"
    for piece in found:
        args = script.keep_piece("~/.ansible/farshore", "0" * 64 + ".part", piece)
        assert len(json.dumps(args).encode()) <= CENTER_TAKES


def test_a_piece_or_a_file_that_is_not_whole_is_refused(host: Host) -> None:
    data = random.Random(1).randbytes(200_000)
    digest = script.sha256(data)
    first, second, *_ = script.pieces(data)
    wrong = script.Piece(name=first.name, digest=first.digest, text=second.text)
    done = host.exec(script.keep_piece("~/kept", "p", wrong))
    assert done.returncode == 74
    assert host.exec(script.keep_piece("~/kept", "p", first)).returncode == 0
    out = host.home / "out"
    assert host.run(script.join("~/kept", "p", digest, str(out)))[1] == 74
    assert not out.exists()
    assert not list(host.home.glob("out*"))


@pytest.mark.parametrize("name", ["plain", "with space", "quote's", "-dash", "ü$(touch x)"])
def test_files_with_any_name(host: Host, name: str) -> None:
    out = host.home / name
    cmd, stdin = script.put(str(out), BYTES)
    assert host.run(cmd, stdin)[1] == 0
    assert out.read_bytes() == BYTES
    size, digest, start = host.run(script.look(str(out), 1000))[2].split(b"\n", 2)
    assert (int(size), digest.decode(), start) == (len(BYTES), script.sha256(BYTES), BYTES[:1000])
    assert host.run(script.read_on(str(out), 1000, 1))[2] == BYTES[1000:]
    assert sorted(p.name for p in host.home.iterdir()) == [name]


def test_a_command_line_that_fits_into_no_message_is_refused() -> None:
    with pytest.raises(script.TooLongError, match="expected 60000 or fewer"):
        script.call("x" * 70_000, None, "~")


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_output_of_which_a_part_is_missing_is_not_taken_for_all(cut: int) -> None:
    text = "gz\n" + script.packed(b"hello " * 50)
    assert script.unpacked(text)[1] == b"hello " * 50
    assert script.unpacked(text[:-cut])[1] is None
