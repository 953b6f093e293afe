"""What a filter has to say about a node that it refuses, with the numbers. For people."""

from collections.abc import Callable, Mapping

from farshore_center.placement.columns import Columns
from farshore_center.placement.cost import Cost
from farshore_center.placement.model import WHOLE, Demand

Say = Callable[[Columns, Demand, int, Cost | None], str]


def refusal(name: str, columns: Columns, demand: Demand, row: int, cost: Cost | None) -> str:
    """``row`` is refused by the filter ``name``."""
    return _SAY[name](columns, demand, row, cost)


def cores(milli: int) -> str:
    return f"{milli / 1000:g} core{'' if milli == 1000 else 's'}"


def size(count: int) -> str:
    """Bytes, in the largest unit that leaves a number of 1 or more."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def _schedulable(columns: Columns, _: Demand, row: int, __: Cost | None) -> str:
    return f"takes nothing new: {columns.nodes[row].refuses}"


def _selector(_: Columns, __: Demand, ___: int, ____: Cost | None) -> str:
    return "the task's selector does not take it"


def _side(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    return f"the task is for the {demand.where}, this is the {columns.nodes[row].side}"


def _driver(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    has = ", ".join(sorted(columns.nodes[row].drivers)) or "none"
    return f"needs the driver {demand.driver}, has {has}"


def _cpu(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    room = columns.room(demand.driver)
    free = _of(room.cpu_free[row], room.cpu[row], cores)
    return f"needs {cores(demand.cpu_milli)}, {free}{_behind(columns, demand, row)}"


def _memory(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    room = columns.room(demand.driver)
    free = _of(room.memory_free[row], room.memory[row], size)
    return f"needs {size(demand.memory_bytes)} of memory, {free}{_behind(columns, demand, row)}"


def _disk(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    free = _of(columns.disk_free[row], columns.disk[row], size)
    return f"needs {size(demand.disk_bytes)} of disk, {free}"


def _gpu_model(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    has = ", ".join(dict.fromkeys(columns.nodes[row].gpus)) or "none"
    return f"needs a GPU of model {' or '.join(sorted(demand.gpu_models))}, has {has}"


def _gpu(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    models = columns.nodes[row].gpus
    if not models:
        return "needs a GPU, has none"
    allowed = [
        int(columns.gpu_free[row, index])
        for index, model in enumerate(models)
        if not demand.gpu_models or model in demand.gpu_models
    ]
    if demand.gpus:
        whole = sum(free == WHOLE for free in allowed)
        return f"needs {demand.gpus} whole GPUs, {whole} of {len(allowed)} are free"
    most = max(allowed, default=0)
    return f"needs {demand.gpu_milli / WHOLE:g} of a GPU, at most {most / WHOLE:g} of one is free"


def _devices(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    has = columns.nodes[row].devices
    lacking = sorted(demand.devices - has)
    held = sorted((demand.devices & has) - columns.devices_free[row])
    told = [f"has no {', '.join(lacking)}"] if lacking else []
    return "; ".join(told + ([f"{', '.join(held)} in use"] if held else []))


def _battery(columns: Columns, demand: Demand, row: int, _: Cost | None) -> str:
    return f"needs {demand.min_battery_pct:g} % of battery, {columns.battery[row]:g} % is left"


def _deadline(_: Columns, demand: Demand, row: int, cost: Cost | None) -> str:
    if cost is None:
        return f"would not be done in {demand.deadline_s:g} s"
    return (
        f"must be done in {demand.deadline_s:g} s; in 95 of 100 runs it takes "
        f"{cost.p95_s[row]:.4g} s: transfer {cost.transfer_s[row]:.4g}, "
        f"run {cost.p95_run_s[row]:.4g}"
    )


def _document(_: Columns, __: Demand, ___: int, ____: Cost | None) -> str:
    return "with it, all that the node has to do would be too large for one message"


def _behind(columns: Columns, demand: Demand, row: int) -> str:
    return " in the cluster behind it" if columns.nodes[row].hands_on(demand.driver) else ""


def _of(free: int, has: int, unit: Callable[[int], str]) -> str:
    return f"{unit(int(free))} of {unit(int(has))} free"


_SAY: Mapping[str, Say] = {
    "schedulable": _schedulable,
    "selector": _selector,
    "side": _side,
    "driver": _driver,
    "cpu": _cpu,
    "memory": _memory,
    "disk": _disk,
    "gpu_model": _gpu_model,
    "gpu": _gpu,
    "devices": _devices,
    "battery": _battery,
    "deadline": _deadline,
    "document": _document,
}
