"""What a person reads of a batch that waits for a full node."""

from farshore_center.cli.task_explain import waits_texts


def figure(
    name: str, value: float | None, unit: str = "s", origin: str = "hint"
) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "origin": origin}


def test_both_sides_are_shown_with_where_each_number_comes_from() -> None:
    shown = list(
        waits_texts(
            {
                "node": "pi-2",
                "ahead": 2,
                "estimate": [figure("wait", 21.7), figure("run", 5.0, origin="measured")],
                "instead": "core-1",
                "instead_estimate": [figure("transfer", 2005.0, origin="assumed")],
            }
        )
    )
    assert shown == [
        "if it waits for pi-2, 2 before it: wait 21.7 s (hint), run 5 s (measured)",
        "if it goes to core-1 now: transfer 2e+03 s (assumed)",
    ]


def test_where_nothing_has_room_there_is_one_side() -> None:
    waits = {"node": "pi-2", "ahead": 0, "estimate": [figure("wait", 3.0)], "instead": None}
    assert list(waits_texts(waits)) == ["if it waits for pi-2: wait 3 s (hint)"]
    assert list(waits_texts(None)) == []
