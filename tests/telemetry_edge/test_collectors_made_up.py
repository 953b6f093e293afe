"""Collectors over made-up machines, and over machines of which a part fails."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.battery import BatteryCollector
from farshore_edge.telemetry.collectors.catalogue import entry_of
from farshore_edge.telemetry.collectors.disk import DISKS_MAX, DiskCollector
from farshore_edge.telemetry.collectors.filesystem import FilesystemCollector
from farshore_edge.telemetry.collectors.memory import MemoryCollector
from farshore_edge.telemetry.collectors.mounts import NETWORK_TYPES, measurable_mounts, parse_mounts
from farshore_edge.telemetry.collectors.network import INTERFACES_MAX, NetworkCollector
from farshore_edge.telemetry.collectors.processor import CORES_MAX, CpuCollector
from farshore_edge.telemetry.collectors.system import AgentCollector, SystemCollector
from farshore_edge.telemetry.collectors.temperature import TemperatureCollector

Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")
Disk = namedtuple("Disk", "read_count write_count read_bytes write_bytes busy_time")
Nic = namedtuple(
    "Nic", "bytes_sent bytes_recv packets_sent packets_recv errin errout dropin dropout"
)
Battery = namedtuple("Battery", "percent power_plugged")


def statvfs(*, blocks: int, free: int, files: int = 0, readonly: bool = False) -> os.statvfs_result:
    flags = os.ST_RDONLY if readonly else 0
    return os.statvfs_result((4096, 4096, blocks, free, free, files, files // 2, 0, flags, 255))


def loads() -> tuple[float, float, float]:
    return (0.5, 0.4, 0.3)


# -- processor -----------------------------------------------------------------------------


def test_processor_use_is_that_of_the_time_since_the_previous_sample() -> None:
    readings = [
        [Times(100, 0, 0, 900, 0, 50, 0), Times(0, 0, 0, 1000, 0, 0, 0)],
        [Times(101, 0, 0, 901, 2, 51, 0), Times(0, 0, 0, 1004, 0, 0, 0)],
    ]
    collector = CpuCollector(core_times=lambda: readings.pop(0), load_averages=loads)
    assert collector.sample() == {"load.1m": 0.5, "load.5m": 0.4, "load.15m": 0.3}
    sample = collector.sample()
    assert sample["cpu.percent{cpu=0}"] == 25.0
    assert sample["cpu.percent{cpu=1}"] == 0.0
    assert sample["cpu.percent"] == 12.5


def test_counters_of_a_core_that_step_back_give_no_negative_use() -> None:
    readings = [[Times(10, 0, 0, 90, 9, 0, 0)], [Times(9, 0, 0, 95, 8, 0, 0)]]
    collector = CpuCollector(core_times=lambda: readings.pop(0), load_averages=loads)
    collector.sample()
    assert collector.sample()["cpu.percent"] == 0.0


def test_a_core_that_goes_off_line_costs_one_sample_of_percentages() -> None:
    one, two = Times(1, 0, 0, 1, 0, 0, 0), Times(2, 0, 0, 2, 0, 0, 0)
    readings = [[one, one], [one], [two]]
    collector = CpuCollector(core_times=lambda: readings.pop(0), load_averages=loads)
    collector.sample()
    assert "cpu.percent" not in collector.sample()
    assert collector.sample()["cpu.percent"] == 50.0


def test_cores_beyond_the_limit_count_in_the_total_alone() -> None:
    cores = CORES_MAX + 4
    readings = [[Times(0, 0, 0, 0, 0, 0, 0)] * cores, [Times(1, 0, 0, 1, 0, 0, 0)] * cores]
    collector = CpuCollector(core_times=lambda: readings.pop(0), load_averages=loads)
    collector.sample()
    sample = collector.sample()
    assert len([series for series in sample if series.startswith("cpu.percent{")]) == CORES_MAX
    assert sample["cpu.percent"] == 50.0
    assert sample["telemetry.devices_left_out{collector=cpu}"] == 4.0


# -- memory and system ------------------------------------------------------------------------


def test_memory_and_swap_of_a_pi(pi_root: Path) -> None:
    assert MemoryCollector(pi_root).sample() == {
        "mem.total_bytes": 3885420 * 1024.0,
        "mem.available_bytes": 2885420 * 1024.0,
        "mem.used_bytes": 1000000 * 1024.0,
        "mem.percent": 25.7,
        "swap.total_bytes": 102396 * 1024.0,
        "swap.used_bytes": 50000 * 1024.0,
        "swap.percent": 48.8,
    }


def test_what_an_old_kernel_does_not_tell_is_absent_and_not_zero(vm_root: Path) -> None:
    assert MemoryCollector(vm_root).sample() == {"mem.total_bytes": 2000000 * 1024.0}


def test_processes_and_uptime_of_a_pi(pi_root: Path) -> None:
    assert SystemCollector(pi_root).sample() == {"process.count": 1.0, "uptime_s": 86400.25}


@pytest.mark.parametrize("kind", [MemoryCollector, FilesystemCollector, SystemCollector])
def test_a_machine_without_proc_is_a_collector_error(kind: Any, empty_root: Path) -> None:
    with pytest.raises(CollectorError, match=kind.name):
        kind(empty_root).sample()


def test_the_agents_own_cost() -> None:
    cpu, clock = iter([1.0, 1.5]), iter([10.0, 20.0])
    collector = AgentCollector(
        rss_bytes=lambda: 33_000_000, cpu_s=lambda: next(cpu), monotonic_s=lambda: next(clock)
    )
    assert collector.sample() == {"agent.rss_bytes": 33_000_000.0, "agent.cpu_percent": 5.0}


# -- file systems ------------------------------------------------------------------------------


def test_a_network_file_system_is_never_asked(pi_root: Path) -> None:
    asked: list[str] = []

    def record(path: str) -> os.statvfs_result:
        asked.append(path)
        return statvfs(blocks=100, free=25)

    collector = FilesystemCollector(pi_root, statvfs=record, is_directory=lambda _: True)
    sample = collector.sample()
    assert asked == ["/", "/boot/firmware"]
    assert sample["fs.used_bytes{mount=/}"] == 75 * 4096.0
    assert sample["fs.percent{mount=/boot/firmware}"] == 75.0


@pytest.mark.parametrize("fstype", [*sorted(NETWORK_TYPES), "fuse.sshfs"])
def test_not_even_as_root(fstype: str) -> None:
    assert measurable_mounts(parse_mounts(f"server:/x / {fstype} rw 0 0")) == []


def test_an_overlay_counts_as_root_and_a_device_counts_once(container_root: Path) -> None:
    table = (container_root / "proc/self/mounts").read_text()
    points = [mount.point for mount in measurable_mounts(parse_mounts(table))]
    assert points == ["/", "/data", "/etc/hosts", "/mnt/with space"]


def test_a_single_mounted_file_is_no_file_system(container_root: Path) -> None:
    collector = FilesystemCollector(
        container_root,
        statvfs=lambda _: statvfs(blocks=10, free=5),
        is_directory=lambda point: point != "/etc/hosts",
    )
    mounts = {s.partition("=")[2][:-1] for s in collector.sample() if s.startswith("fs.used")}
    assert {"/", "/data"} < mounts
    assert "/etc/hosts" not in mounts


def test_what_is_mounted_over_something_hides_it() -> None:
    table = "/dev/sda1 /data ext4 rw 0 0\nserver:/x /data nfs rw 0 0"
    assert measurable_mounts(parse_mounts(table)) == []


def test_one_dead_file_system_does_not_take_the_others_down(pi_root: Path) -> None:
    def fail_once(path: str) -> os.statvfs_result:
        if path == "/boot/firmware":
            raise OSError(5, "Input/output error")
        return statvfs(blocks=100, free=25, files=200, readonly=True)

    collector = FilesystemCollector(pi_root, statvfs=fail_once, is_directory=lambda _: True)
    sample = collector.sample()
    assert sample["fs.readonly{mount=/}"] == 1.0
    assert sample["fs.inodes_percent{mount=/}"] == 50.0
    assert not [series for series in sample if "firmware" in series]
    assert sample["telemetry.devices_unreadable{collector=filesystem}"] == 1.0


def test_a_file_system_that_is_mounted_later_appears(pi_root: Path) -> None:
    collector = FilesystemCollector(
        pi_root, statvfs=lambda _: statvfs(blocks=10, free=5), is_directory=lambda _: True
    )
    collector.sample()
    with (pi_root / "proc/self/mounts").open("a") as table:
        table.write("/dev/sda1 /usb exfat rw 0 0\n")
    assert "fs.used_bytes{mount=/usb}" in collector.sample()


# -- disks and interfaces -----------------------------------------------------------------------


def test_only_whole_disks_are_counted(pi_root: Path) -> None:
    busy = Disk(1, 2, 512, 1024, 1500)
    counters = {"mmcblk0": busy, "mmcblk0p1": busy, "loop0": busy, "zram0": busy}
    assert DiskCollector(pi_root, counters=lambda: counters).sample() == {
        "disk.read_bytes_total{device=mmcblk0}": 512.0,
        "disk.write_bytes_total{device=mmcblk0}": 1024.0,
        "disk.read_ops_total{device=mmcblk0}": 1.0,
        "disk.write_ops_total{device=mmcblk0}": 2.0,
        "disk.busy_seconds_total{device=mmcblk0}": 1.5,
    }


def test_loopback_and_interfaces_of_containers_are_not_counted() -> None:
    nic = Nic(1, 2, 3, 4, 5, 6, 7, 8)
    counters = dict.fromkeys(("lo", "eth0", "veth0a1b", "cali123", "lxc9"), nic)
    sample = NetworkCollector(counters=lambda: counters).sample()
    assert sample == {
        "net.transmit_bytes_total{interface=eth0}": 1.0,
        "net.receive_bytes_total{interface=eth0}": 2.0,
        "net.transmit_packets_total{interface=eth0}": 3.0,
        "net.receive_packets_total{interface=eth0}": 4.0,
        "net.receive_errors_total{interface=eth0}": 5.0,
        "net.transmit_errors_total{interface=eth0}": 6.0,
        "net.receive_drops_total{interface=eth0}": 7.0,
        "net.transmit_drops_total{interface=eth0}": 8.0,
    }


def test_the_number_of_series_is_bounded(empty_root: Path) -> None:
    disks = {f"sd{n}": Disk(1, 1, 1, 1, 1) for n in range(DISKS_MAX + 10)}
    nics = {f"eth{n}": Nic(*range(8)) for n in range(INTERFACES_MAX + 7)}
    sample = DiskCollector(empty_root, counters=lambda: disks).sample()
    assert len(sample) == DISKS_MAX * 5 + 1
    assert sample["telemetry.devices_left_out{collector=disk}"] == 10.0
    sample = NetworkCollector(counters=lambda: nics).sample()
    assert len(sample) == INTERFACES_MAX * 8 + 1
    assert sample["telemetry.devices_left_out{collector=network}"] == 7.0


def test_counters_that_can_not_be_read_are_a_collector_error(empty_root: Path) -> None:
    def fail() -> dict[str, Any]:
        raise FileNotFoundError("/proc/diskstats")

    with pytest.raises(CollectorError, match="disk: /proc/diskstats"):
        DiskCollector(empty_root, counters=fail).sample()
    with pytest.raises(CollectorError, match="network"):
        NetworkCollector(counters=fail).sample()


# -- temperatures and battery --------------------------------------------------------------------


def add_chip(root: Path, number: int, name: str, inputs: dict[str, str]) -> None:
    folder = root / f"sys/class/hwmon/hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    for file, text in inputs.items():
        (folder / file).write_text(f"{text}\n")


def test_a_board_without_hardware_monitors_reports_its_thermal_zones(pi_root: Path) -> None:
    assert TemperatureCollector(pi_root).sample() == {"temp.celsius{sensor=cpu-thermal}": 48.312}


def test_sensors_are_named_by_chip_and_label_and_twins_are_told_apart(pi_root: Path) -> None:
    add_chip(pi_root, 0, "coretemp", {"temp1_input": "50000", "temp1_label": "Package id 0"})
    add_chip(pi_root, 1, "nvme", {"temp1_input": "40000", "temp1_label": "Composite"})
    add_chip(pi_root, 2, "nvme", {"temp1_input": "41000", "temp1_label": "Composite"})
    add_chip(pi_root, 3, "board", {"temp1_input": "-273150", "temp2_input": "30000"})
    assert TemperatureCollector(pi_root).sample() == {
        "temp.celsius{sensor=coretemp/Package_id_0}": 50.0,
        "temp.celsius{sensor=nvme/Composite}": 40.0,
        "temp.celsius{sensor=nvme/Composite.2}": 41.0,
        "temp.celsius{sensor=board/temp2}": 30.0,
    }


def test_a_sensor_that_vanishes_does_not_take_the_others_down(empty_root: Path) -> None:
    add_chip(empty_root, 0, "a", {"temp1_input": "50000", "temp2_input": "51000"})
    add_chip(empty_root, 1, "b", {"temp1_input": "40000"})
    collector = TemperatureCollector(empty_root)
    assert len(collector.sample()) == 3
    (empty_root / "sys/class/hwmon/hwmon0/temp1_input").unlink()
    assert collector.sample() == {
        "temp.celsius{sensor=a/temp2}": 51.0,
        "temp.celsius{sensor=b/temp1}": 40.0,
        "telemetry.devices_unreadable{collector=temperature}": 1.0,
    }
    shutil.rmtree(empty_root / "sys/class/hwmon/hwmon0")
    assert collector.sample() == {"temp.celsius{sensor=b/temp1}": 40.0}


def test_when_no_sensor_answers_that_is_an_error(empty_root: Path) -> None:
    add_chip(empty_root, 0, "a", {"temp1_input": "broken"})
    with pytest.raises(CollectorError, match="none of 1 sensors"):
        TemperatureCollector(empty_root).sample()


def test_battery_with_and_without() -> None:
    def no_power_supplies() -> Any:
        raise FileNotFoundError("/sys/class/power_supply")

    assert BatteryCollector(battery=lambda: None).sample() == {}
    assert BatteryCollector(battery=no_power_supplies).sample() == {}
    assert BatteryCollector(battery=lambda: Battery(71.26, None)).sample() == {
        "battery.percent": 71.3
    }
    sample = BatteryCollector(battery=lambda: Battery(80, True)).sample()
    assert sample == {"battery.percent": 80.0, "battery.plugged": 1.0}
    assert all(entry_of(series) for series in sample)
