"""A machine that can't run containers says so, and how many tests that cost."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = (
    "tests/task_drivers/test_task_container.py",
    "tests/task_drivers/test_task_container_lease.py",
)


def test_without_podman_the_run_says_loudly_what_it_left_out(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pytest", *TESTS, "-q", "-p", "no:cacheprovider", "--color=no"]
    argv += ["-k", "own_words or one_keeper or no_list_of_users"]
    ran = subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "!! left out on this machine !!" in ran.stdout
    lines = [line.strip() for line in ran.stdout.splitlines()]
    if os.geteuid() == 0:
        why = "containers are not tested: no podman here (make system installs it)"
    else:
        why = "containers are tested as root"
    assert f"2 tests: {why}" in lines
    assert "2 tests were left out in all" in lines
    assert any(line.startswith("1 passed, 2 skipped") for line in lines)
