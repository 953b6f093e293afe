"""What the kernel says about a process, read right: checked against literal text and real ones."""

import os
import subprocess
import sys
import time

import pytest

from bench import proc
from bench.errors import BenchError

# A program may name itself anything, parentheses and spaces included.
STAT = (
    "4242 (far) (shore) S 77 4242 4242 0 -1 4194304 41671 0 6 0 1145 131 900 900 20 0 7 0 380767 "
    "662634496 43245 18446744073709551615 1 1 0 0 0 0 0 16781312 16386 0 0 0 17 1 0 0 0 0 0"
)
ROLLUP = """\
55d4a2c00000-7ffd4e1f2000 ---p 00000000 00:00 0                          [rollup]
Rss:               32548 kB
Pss:               22648 kB
Pss_Dirty:         18712 kB
Private_Clean:       936 kB
Private_Dirty:     18712 kB
"""


def test_cpu_time_is_user_and_system_without_children() -> None:
    assert proc.parse_cpu_s(STAT) == pytest.approx((1145 + 131) / proc.TICKS_PER_S)
    assert proc.parse_parent(STAT) == 77


def test_memory_is_in_mib() -> None:
    memory = proc.parse_memory(ROLLUP)
    assert memory.rss == pytest.approx(31.79, abs=0.01)
    assert memory.pss == pytest.approx(22.12, abs=0.01)
    assert memory.private == pytest.approx(19.19, abs=0.01)


def test_descendants_are_found_at_every_depth() -> None:
    assert sorted(proc.descendants(1, {2: 1, 3: 2, 4: 3, 5: 9, 9: 8})) == [2, 3, 4]


def test_a_child_process_counts() -> None:
    before = proc.processes(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE):
        assert proc.processes(os.getpid()) == before + 1


def test_this_process_s_own_figures() -> None:
    until = time.process_time() + 0.05
    before = proc.cpu_s(os.getpid())
    while time.process_time() < until:
        pass
    assert proc.cpu_s(os.getpid()) - before == pytest.approx(0.05, abs=0.03)
    memory = proc.memory(os.getpid())
    assert 5 < memory.private <= memory.pss <= memory.rss
    assert proc.threads(os.getpid()) >= 1


def test_a_process_that_is_gone_can_not_be_measured() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with pytest.raises(BenchError, match="/proc/"):
        proc.cpu_s(ended.pid)
