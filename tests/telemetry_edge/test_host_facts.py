"""Facts of this machine and of made-up ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.facts import host
from farshore_edge.facts.host import host_facts


def test_the_facts_of_a_pi(pi_root: Path) -> None:
    facts = host_facts(pi_root, addresses=lambda: {"eth0": ["192.0.2.7", "fe80::1"]})
    python, machine = facts.pop("python"), facts.pop("machine_id_hash")
    assert python.startswith("3.")
    assert len(machine) == 32
    assert facts == {
        "os": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"},
        "kernel": {"name": "Linux", "release": "6.6.51+rpt-rpi-v8", "modules_loaded": 2},
        "arch": "aarch64",
        "hostname": "gate-7",
        "boot_id": "4d6c8e9a-1111-2222-3333-444455556666",
        "timezone": "Europe/Berlin",
        "init": "systemd",
        "cgroup": "v2",
        "board": {"model": "Raspberry Pi 4 Model B Rev 1.4"},
        "cpu": {
            "model": "Cortex-A72",
            "cores_logical": 4,
            "cores_physical": 4,
            "max_mhz": 1800,
            "flags": ["asimd", "crc32"],
        },
        "mem": {"total_bytes": 3885420 * 1024},
        "swap": {"total_bytes": 102396 * 1024},
        "disks": [
            {
                "device": "mmcblk0",
                "size_bytes": 62333952 * 512,
                "model": "SD32G",
                "rotational": False,
                "removable": False,
            }
        ],
        "filesystems": [
            {"mount": "/", "type": "ext4", "device": "/dev/mmcblk0p2"},
            {"mount": "/boot/firmware", "type": "vfat", "device": "/dev/mmcblk0p1"},
        ],
        "interfaces": [
            {
                "name": "eth0",
                "kind": "ethernet",
                "mac": "dc:a6:32:00:00:01",
                "addresses": ["192.0.2.7", "fe80::1"],
                "mtu": 1500,
                "speed_mbps": 1000,
                "driver": "bcmgenet",
            },
            {
                "name": "wlan0",
                "kind": "wifi",
                "mac": "dc:a6:32:00:00:02",
                "addresses": [],
                "mtu": 1500,
                "driver": "brcmfmac",
            },
        ],
        "virtualisation": {"kind": "physical"},
        "gpus": [],
        "drivers": {"network": ["bcmgenet", "brcmfmac"], "gpu": []},
    }


def test_a_virtual_machine(vm_root: Path) -> None:
    facts = host_facts(vm_root)
    assert facts["virtualisation"] == {"kind": "vm", "hypervisor": "kvm"}
    assert facts["os"] == {"id": "alpine", "version": "3.20.1"}
    assert facts["cpu"]["cores_logical"] == 4
    assert facts["cpu"]["cores_physical"] == 2
    assert facts["cpu"]["flags"] == ["aes", "avx2", "sse4_2"]
    assert facts["cgroup"] == "v1"
    assert facts["init"] == "init"
    assert facts["timezone"] == "America/Lima"
    assert facts["board"]["vendor"] == "QEMU"
    assert [disk["device"] for disk in facts["disks"]] == ["vda"]


def test_a_container(container_root: Path) -> None:
    facts = host_facts(container_root)
    assert facts["virtualisation"] == {"kind": "container", "container": "podman"}
    assert facts["cgroup"] == "hybrid"
    assert [fs["mount"] for fs in facts["filesystems"]] == ["/", "/data", "/mnt/with space"]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (".dockerenv", "", "docker"),
        ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("proc/1/environ", "PATH=/bin\0container=lxc\0", "lxc"),
        ("proc/1/environ", "TOKEN=secret\0container=a b;$(c)\0", "abc"),
        ("proc/1/cgroup", "0::/kubepods/besteffort/pod1\n", "kubernetes"),
    ],
)
def test_signs_of_a_container(file: str, text: str, expected: str, empty_root: Path) -> None:
    path = empty_root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    facts = host_facts(empty_root)
    assert facts["virtualisation"] == {"kind": "container", "container": expected}


def test_gpus_are_those_of_the_bus_without_display_chips_and_sound(gpu_root: Path) -> None:
    facts = host_facts(gpu_root)
    nvidia = {"vendor": "nvidia", "pci_device": "0x27b8", "driver": "nvidia"}
    amd = {"vendor": "amd", "pci_device": "0x744c", "driver": "amdgpu"}
    assert facts["gpus"] == [nvidia, nvidia, amd]
    assert facts["drivers"] == {"network": [], "gpu": ["amdgpu", "nvidia"]}


def test_a_machine_that_tells_nothing_has_facts_all_the_same(empty_root: Path) -> None:
    facts = host_facts(empty_root)
    assert facts["virtualisation"] == {"kind": "physical"}
    assert facts["disks"] == facts["gpus"] == facts["interfaces"] == facts["filesystems"] == []
    assert not {"cpu", "mem", "os", "hostname", "machine_id_hash"} & facts.keys()


def test_no_serial_number_and_no_machine_id_gets_out(pi_root: Path, vm_root: Path) -> None:
    text = json.dumps([host_facts(pi_root), host_facts(vm_root)]).lower()
    for secret in ("deadbeef", "secret", "0123456789abcdef0123456789abcdef"):
        assert secret not in text


def test_two_machines_have_two_hashes_and_one_has_one(pi_root: Path) -> None:
    first = host_facts(pi_root)["machine_id_hash"]
    assert host_facts(pi_root)["machine_id_hash"] == first
    (pi_root / "etc/machine-id").write_text("fedcba9876543210fedcba9876543210\n")
    assert host_facts(pi_root)["machine_id_hash"] != first


def test_the_hash_can_not_be_had_from_the_machine_id_alone(pi_root: Path) -> None:
    machine_id = (pi_root / "etc/machine-id").read_bytes().strip()
    plain = hashlib.blake2b(machine_id, digest_size=16).hexdigest()
    assert host_facts(pi_root)["machine_id_hash"] not in (plain, machine_id.decode())


def test_one_section_that_fails_does_not_take_the_others_down(
    pi_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Path) -> Any:
        raise AttributeError("a kernel's surprise")

    sections = tuple((name, fail if name == "cpu" else read) for name, read in host.SECTIONS)
    monkeypatch.setattr(host, "SECTIONS", sections)
    facts = host_facts(pi_root)
    assert "cpu" not in facts
    assert facts["mem"]["total_bytes"] == 3885420 * 1024


@pytest.mark.parametrize("file", ["proc/meminfo", "proc/cpuinfo", "etc/os-release"])
def test_garbage_in_a_file_is_survived(file: str, pi_root: Path) -> None:
    (pi_root / file).write_bytes(b"\xff\x00MemTotal: x kB\n\nprocessor\n=\n:\n")
    facts = host_facts(pi_root)
    assert facts["hostname"] == "gate-7"
    json.dumps(facts)


def test_this_machine() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["mem"]["total_bytes"] > 100_000_000
    assert facts["cpu"]["cores_logical"] >= 1
    assert {"os", "kernel", "arch", "hostname", "virtualisation", "drivers"} <= facts.keys()
    assert host_facts() == facts, "the digest of facts would change without a reason"
