"""The collector after ``settle``: what was there is left alone, what comes later is still collected."""

import subprocess
import sys

CODE = """
import gc
from farshore_protocol.garbage import YOUNG_AT_NODE, settle, starting
starting()
assert not gc.isenabled()
class Ring:
    alive = 0
    def __init__(self): self.own = self; Ring.alive += 1
    def __del__(self): Ring.alive -= 1
old = [Ring() for _ in range(1_000)]
settle(YOUNG_AT_NODE)
assert gc.isenabled() and gc.get_freeze_count() > 1_000
scanned = sum(len(gc.get_objects(generation)) for generation in range(3))
for _ in range(10 * YOUNG_AT_NODE): Ring()
print(scanned < 1_000, Ring.alive - len(old) < 3 * YOUNG_AT_NODE)
"""


def test_young_cycles_are_collected_and_what_was_there_is_not_looked_at() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert done.stdout == "True True\n"
