"""When a record was made: which clock is believed."""

import pytest
from farshore_center.ingest.clock import FIRST_MS, PLAUSIBLE_MS, boot_base_ms, correct, doubt
from farshore_protocol.messages import Envelope, TimeRequest
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_763_830_000_000
DAY_MS = 86_400_000
UNCHECKED_MS = 15 * DAY_MS
OLD = NOW - 20 * DAY_MS
WRONG = 10_000
BOOT = NOW - DAY_MS
CHECKED, ROUGH, RECEIPT = (OLD, False), (NOW - 5, True), (NOW, True)


def enveloped(ts: int, *, synced: bool = False, up_ms: int = 40) -> Envelope:
    return Envelope(epoch="e", seq=1, boot="b", up_ms=up_ms, ts=ts, synced=synced)


def corrected(envelope: Envelope, base_ms: int | None) -> tuple[int, bool]:
    return correct(envelope, base_ms, received_ms=NOW, oldest_ms=NOW - UNCHECKED_MS)


@pytest.mark.parametrize(
    ("envelope", "base", "expected"),
    [
        pytest.param(enveloped(OLD, synced=True), None, CHECKED, id="a checked wall clock"),
        pytest.param(
            enveloped(OLD, synced=True), BOOT, CHECKED, id="even where the boot is placed"
        ),
        pytest.param(enveloped(OLD), BOOT, (BOOT + 40, False), id="else the boot's clock"),
        pytest.param(enveloped(NOW), OLD - 40, CHECKED, id="which may be as old as it likes"),
        pytest.param(enveloped(NOW - 5), None, ROUGH, id="else the wall clock, as approximate"),
        pytest.param(enveloped(WRONG), None, RECEIPT, id="else the receipt: 1970"),
        pytest.param(enveloped(FIRST_MS - 1), None, RECEIPT, id="before the product"),
        pytest.param(enveloped(NOW + 11 * DAY_MS), None, RECEIPT, id="of the future"),
        pytest.param(enveloped(OLD), None, RECEIPT, id="soon to be deleted, and not checked"),
        pytest.param(enveloped(WRONG, synced=True), BOOT, (BOOT + 40, False), id="falsely checked"),
        pytest.param(enveloped(WRONG, synced=True), None, RECEIPT, id="falsely checked, no boot"),
        pytest.param(enveloped(NOW - 5), 7000, ROUGH, id="placed while the center was in 1970"),
        pytest.param(enveloped(WRONG, up_ms=2**53), BOOT, RECEIPT, id="a boot of 285,000 years"),
    ],
)
def test_correct(envelope: Envelope, base: int | None, expected: tuple[int, bool]) -> None:
    assert corrected(envelope, base) == expected


@given(st.integers(-(2**53), 2**48), st.booleans(), st.none() | st.integers(-(2**45), 2**45))
def test_what_nobody_checked_is_never_close_to_its_deletion(
    ts: int, synced: bool, base: int | None
) -> None:
    at_ms, approximate = corrected(enveloped(ts, synced=synced), base)
    assert FIRST_MS <= at_ms <= NOW + PLAUSIBLE_MS
    assert not approximate or at_ms >= NOW - UNCHECKED_MS


def test_the_exchange_with_the_least_delay_is_believed() -> None:
    request = TimeRequest(boot="b", up_ms=1000, ts=0)
    assert boot_base_ms(request, 5000, None) == 4000
    assert boot_base_ms(request, 5300, 4000) == 4000, "this one was delayed"
    assert boot_base_ms(request, 4900, 4000) == 3900


@pytest.mark.parametrize(
    ("ts", "timed", "said"),
    [
        (NOW - PLAUSIBLE_MS, (NOW - PLAUSIBLE_MS, True), None),
        (NOW - PLAUSIBLE_MS - 1, (NOW - PLAUSIBLE_MS - 1, True), "kept as it is"),
        (NOW + PLAUSIBLE_MS + 1, (NOW, True), "dated by its receipt"),
        (5000, (NOW, True), "dated by its receipt"),
        (5000, (NOW - 5, False), None),
    ],
)
def test_what_is_said_of_a_date_that_was_not_checked(
    ts: int, timed: tuple[int, bool], said: str | None
) -> None:
    told = doubt(enveloped(ts), timed, NOW)
    assert (told is None) if said is None else (told is not None and told.endswith(said))
