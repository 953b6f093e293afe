"""Series names are safe, reversible and distinct, and the number of devices is bounded."""

from __future__ import annotations

import re

from farshore_edge.telemetry.collectors.series import (
    LABEL_MAX_CHARS,
    DeviceLabels,
    label_value,
    series_name,
    split_series,
)
from hypothesis import given
from hypothesis import strategies as st

SAFE = re.compile(rf"[A-Za-z0-9._:/@+-]{{1,{LABEL_MAX_CHARS}}}")


@given(st.text())
def test_every_label_value_is_in_the_alphabet_and_bounded(raw: str) -> None:
    assert SAFE.fullmatch(label_value(raw))


@given(st.text(), st.text())
def test_two_devices_never_share_a_label(left: str, right: str) -> None:
    assert (label_value(left) == label_value(right)) == (left == right)


def test_devices_that_differ_beyond_the_cut_or_in_unsafe_characters_stay_apart() -> None:
    long = "/var/lib/" + "x" * 100
    values = [label_value(raw) for raw in (long + "1", long + "2", "a b", "a\tb", "a_b")]
    assert len(set(values)) == len(values)


def test_ordinary_values_are_left_as_they_are() -> None:
    for raw in ("/", "/var/lib/data", "eth0.100", "nvme0n1", "coretemp/Package_id_0"):
        assert label_value(raw) == raw


@given(st.text().map(label_value))
def test_a_name_is_taken_apart_into_what_it_was_built_from(value: str) -> None:
    assert split_series(series_name("fs.used_bytes", "mount", value)) == (
        "fs.used_bytes",
        "mount",
        value,
    )
    assert split_series(series_name("load.1m")) == ("load.1m", None, "")


def test_devices_beyond_the_limit_are_left_out_and_counted() -> None:
    labels = DeviceLabels("disk", 3)
    assert list(labels.admit([f"sd{c}" for c in "edcba"])) == ["sda", "sdb", "sdc"]
    assert labels.left_out == ("sdd", "sde")
    sample: dict[str, float] = {}
    labels.account(sample, unreadable=2)
    assert sample == {
        "telemetry.devices_left_out{collector=disk}": 2.0,
        "telemetry.devices_unreadable{collector=disk}": 2.0,
    }


def test_a_new_device_does_not_push_out_one_that_has_a_series() -> None:
    labels = DeviceLabels("disk", 2)
    labels.admit(["sdb", "sdc"])
    assert set(labels.admit(["sda", "sdb", "sdc"])) == {"sdb", "sdc"}
    assert labels.left_out == ("sda",)
    assert set(labels.admit(["sda", "sdc"])) == {"sda", "sdc"}
    assert not labels.left_out


def test_nothing_is_said_when_nothing_is_missing() -> None:
    labels = DeviceLabels("disk", 2)
    labels.admit(["sda"])
    sample: dict[str, float] = {}
    labels.account(sample)
    assert sample == {}
