"""When a record was made: which clock is believed."""

import pytest
from farshore_center.ingest.clock import PLAUSIBLE_MS, boot_base_ms, correct, plausible
from farshore_protocol.messages import Envelope, TimeRequest

NOW = 1_763_830_000_000


@pytest.mark.parametrize(
    ("synced", "base", "expected"),
    [
        pytest.param(True, None, (500, False), id="a checked wall clock is believed"),
        pytest.param(True, 7000, (500, False), id="even where the boot is placed"),
        pytest.param(False, 7000, (7040, False), id="else the boot's clock, if it is placed"),
        pytest.param(False, None, (500, True), id="else the wall clock, as approximate"),
        pytest.param(False, 0, (40, False), id="a base of zero is a base"),
    ],
)
def test_correct(synced: bool, base: int | None, expected: tuple[int, bool]) -> None:
    envelope = Envelope(epoch="e", seq=1, boot="b", up_ms=40, ts=500, synced=synced)
    assert correct(envelope, base) == expected


def test_the_exchange_with_the_least_delay_is_believed() -> None:
    request = TimeRequest(boot="b", up_ms=1000, ts=0)
    assert boot_base_ms(request, 5000, None) == 4000
    assert boot_base_ms(request, 5300, 4000) == 4000, "this one was delayed"
    assert boot_base_ms(request, 4900, 4000) == 3900


@pytest.mark.parametrize(
    ("off_ms", "approximate", "expected"),
    [
        (PLAUSIBLE_MS, True, True),
        (PLAUSIBLE_MS + 1, True, False),
        (-PLAUSIBLE_MS - 1, True, False),
        (-PLAUSIBLE_MS - 1, False, True),
        (PLAUSIBLE_MS + 1, False, False),
    ],
)
def test_plausible(off_ms: int, approximate: bool, expected: bool) -> None:
    assert plausible(NOW + off_ms, approximate, NOW) is expected
