"""A short broker soak: one kill with all that the broker kept, under load."""

from pathlib import Path

import pytest

from soak.brokers import BrokersSettings, brokers

pytestmark = pytest.mark.processes


async def test_a_broker_killed_and_wiped_breaks_no_promise(tmp_path: Path) -> None:
    settings = BrokersSettings(kinds=("embedded",), kills=1, nodes=2, seed=5)
    found = await brokers(settings, tmp_path, lambda _text: None)
    assert [str(violation) for violation in found.violations] == []
    counts = found.counts["embedded"]
    assert counts["kills"] == 1
    assert counts["records_accepted"] > 20
    assert counts["batches_witnessed"] > 10
    # Whoever is back first after a kill, the witness or the nodes: what waited is seen.
    assert counts["batches_witnessed"] > 0.8 * counts["batches_accepted"]
    assert counts["effects"] >= 1
