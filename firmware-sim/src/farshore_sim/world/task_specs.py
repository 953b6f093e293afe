"""What tasks of a world are like: drawn from the two numbers of a fault. Pure."""

import math
import random
from typing import Any

from farshore_sim.world.faults import Fault

NAMES = 4
LOST_AFTER_S = (4.0, 12.0, 30.0, 90.0)
GRACE_S = (0.0, 1.0, 3.0)
LONGEST_S = 20.0


def name_of(fault: Fault) -> str:
    return f"work-{1 + int(fault.a * NAMES * 0.999)}"


def spec_of(fault: Fault) -> dict[str, Any]:
    """A specification as a person writes it."""
    rng = random.Random(f"{fault.a}/{fault.b}")  # noqa: S311 # replayable, no secret
    batch = rng.random() < 0.4
    spec: dict[str, Any] = {
        "kind": "batch" if batch else "service",
        "driver": "simulated",
        "count": rng.choice((1, 1, 2, 3)),
        "run": _program(rng, batch=batch),
        "stop_grace_s": rng.choice(GRACE_S),
        "disconnect": {
            "on_disconnect": "stop" if rng.random() < 0.6 else "keep",
            "lost_after_s": rng.choice(LOST_AFTER_S),
            "replace": rng.random() < 0.85,
            "on_reconnect": rng.choice(("keep_original", "keep_replacement")),
            "silent_site": "wait" if rng.random() < 0.7 else "replace",
        },
    }
    if batch:
        # A program that always fails comes to an end.
        spec["restart"] = {"attempts": rng.choice((1, 2))}
        if rng.random() < 0.15:
            spec["cron"] = "*/3 * * * *"
        spec |= _data(fault, spec["run"]["run_s"])
    return spec


def _data(fault: Fault, run_s: float) -> dict[str, Any]:
    """Half of the shorter batches fill much of a node, have their data at one, and a guess how long they run:
    they wait for nodes that are full, or go over the link. Longer ones might need more than the hour in which
    a world comes to rest, on the one node that is left."""
    rng = random.Random(f"data/{fault.a}/{fault.b}")  # noqa: S311 # replayable, no secret
    if rng.random() < 0.5 or run_s > LONGEST_S:
        return {}
    found: dict[str, Any] = {
        "requests": {"cpu_cores": rng.choice((24, 40))},
        "reads": [
            {"where": f"node:node-{rng.randint(1, 4)}", "bytes": rng.choice((0, 10**7, 10**9))}
        ],
    }
    if rng.random() < 0.7:
        found["run_s"] = round(run_s * rng.choice((0.3, 1, 1, 3)), 3)
    return found


def _program(rng: random.Random, *, batch: bool) -> dict[str, Any]:
    program: dict[str, Any] = {
        "prepare_s": round(rng.choice((0.0, rng.uniform(0, 3))), 3),
        "stop_s": round(rng.choice((0.0, rng.uniform(0, 4))), 3),
    }
    if batch:
        program["run_s"] = round(math.exp(rng.uniform(0, math.log(300))), 3)
        program["exit_code"] = 1 if rng.random() < 0.1 else 0
    return program
