"""The processor's model, cores, speed and the few features that decide where work can run."""

from __future__ import annotations

from pathlib import Path

from farshore_edge.facts.tree import clean, entries, known, read_file, read_int

# fmt: off
USEFUL_FLAGS = frozenset((
    "aes", "avx", "avx2", "avx512f", "amx_tile", "fma", "sha_ni", "sse4_2", "svm", "vmx",  # x86
    "asimd", "asimddp", "asimdhp", "atomics", "crc32", "neon", "sha2", "sve",  # ARM
))
# fmt: on

_ARM_PARTS = {
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xc08"): "Cortex-A8",
    ("0x41", "0xc09"): "Cortex-A9",
    ("0x41", "0xc0f"): "Cortex-A15",
    ("0x41", "0xb76"): "ARM1176",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x4e", "0x004"): "Carmel",
}
"""Linux on ARM gives implementer and part numbers where x86 gives a name."""


def cpu_facts(root: Path) -> dict[str, object]:
    blocks = [_fields(block) for block in read_file(root / "proc/cpuinfo").split("\n\n")]
    cores = [block for block in blocks if "processor" in block]
    if not cores:
        return {}
    first = cores[0]
    flags = set((first.get("flags") or first.get("Features") or "").split())
    khz = read_int(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return known(
        model=_model(first),
        cores_logical=len(cores),
        cores_physical=_physical_cores(root, cores),
        max_mhz=None if khz is None else khz // 1000,
        flags=sorted(flags & USEFUL_FLAGS),
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _model(core: dict[str, str]) -> str | None:
    part = (core.get("CPU implementer", ""), core.get("CPU part", ""))
    if part in _ARM_PARTS:
        return _ARM_PARTS[part]
    # 32-bit ARM calls the name "model name" as well, RISC-V calls it uarch.
    return clean(core.get("model name") or core.get("uarch") or core.get("cpu model") or "")


def _physical_cores(root: Path, cores: list[dict[str, str]]) -> int | None:
    found = {(core["physical id"], core["core id"]) for core in cores if _has_topology(core)}
    if found:
        return len(found)
    folder = root / "sys/devices/system/cpu"
    places = set()
    for name in entries(folder):
        if name.startswith("cpu") and name[3:].isdigit():
            topology = folder / name / "topology"
            core_id = read_int(topology / "core_id")
            if core_id is not None:
                places.add((read_int(topology / "physical_package_id"), core_id))
    return len(places) or None


def _has_topology(core: dict[str, str]) -> bool:
    return "physical id" in core and "core id" in core
