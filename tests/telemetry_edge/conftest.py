"""Made-up machines: the files of /proc and /sys that the readers look at, below a folder."""

from __future__ import annotations

from pathlib import Path

import pytest


def plant(root: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(text)
    for name, target in (links or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return root


PI_CORE = """processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd08
CPU revision\t: 3

"""


@pytest.fixture
def pi_root(tmp_path: Path) -> Path:
    """A Raspberry Pi 4 with a memory card, a cable and Wi-Fi."""
    files = {
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n',
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "proc/cpuinfo": "".join(PI_CORE.format(n=n) for n in range(4))
        + "Hardware\t: BCM2835\nSerial\t\t: 10000000deadbeef\nModel\t\t: Raspberry Pi 4 Model B\n",
        "proc/meminfo": "MemTotal:        3885420 kB\nMemFree:  1200000 kB\n"
        "MemAvailable:    2885420 kB\nSwapTotal:        102396 kB\nSwapFree:          52396 kB\n"
        "HugePages_Total:       0\n",
        "proc/sys/kernel/ostype": "Linux\n",
        "proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-v8\n",
        "proc/sys/kernel/arch": "aarch64\n",
        "proc/sys/kernel/hostname": "gate-7\n",
        "proc/sys/kernel/random/boot_id": "4d6c8e9a-1111-2222-3333-444455556666\n",
        "proc/modules": "brcmfmac 1 0 - Live 0x0\nbcmgenet 1 0 - Live 0x0\n",
        "proc/self/mounts": "proc /proc proc rw 0 0\n/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n"
        "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
        "/dev/mmcblk0p1 /boot/firmware vfat rw 0 0\nnas:/share /mnt/nas nfs4 rw 0 0\n",
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/device-tree/serial-number": "10000000deadbeef\0",
        "proc/1/comm": "systemd\n",
        "proc/uptime": "86400.25 300000.00\n",
        "boot/firmware/": "",
        "mnt/nas/": "",
        "run/systemd/system/": "",
        "sys/block/mmcblk0/size": "62333952\n",
        "sys/block/mmcblk0/device/name": "SD32G\n",
        "sys/block/mmcblk0/device/serial": "0xdeadbeef\n",
        "sys/block/mmcblk0/queue/rotational": "0\n",
        "sys/block/mmcblk0/removable": "0\n",
        "sys/block/loop0/size": "100\n",
        "sys/class/net/lo/mtu": "65536\n",
        "sys/class/net/eth0/address": "dc:a6:32:00:00:01\n",
        "sys/class/net/eth0/mtu": "1500\n",
        "sys/class/net/eth0/speed": "1000\n",
        "sys/class/net/wlan0/address": "dc:a6:32:00:00:02\n",
        "sys/class/net/wlan0/mtu": "1500\n",
        "sys/class/net/wlan0/wireless/": "",
        "sys/class/net/veth12ab/mtu": "1500\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
    }
    for core in range(4):
        files[f"sys/devices/system/cpu/cpu{core}/topology/core_id"] = f"{core}\n"
        files[f"sys/devices/system/cpu/cpu{core}/topology/physical_package_id"] = "0\n"
    links = {
        "etc/localtime": "/usr/share/zoneinfo/Europe/Berlin",
        "sys/class/net/eth0/device/driver": "../../bus/platform/drivers/bcmgenet",
        "sys/class/net/wlan0/device/driver": "../../bus/sdio/drivers/brcmfmac",
    }
    return plant(tmp_path / "pi", files, links)


@pytest.fixture
def vm_root(tmp_path: Path) -> Path:
    """A virtual machine under KVM, with cgroups v1."""
    core = (
        "processor\t: {n}\nmodel name\t: Intel Xeon Processor\nphysical id\t: 0\n"
        "core id\t\t: {core}\nflags\t\t: fpu sse4_2 aes avx2 hypervisor\n\n"
    )
    return plant(
        tmp_path / "vm",
        {
            "usr/lib/os-release": "ID='alpine'\nVERSION_ID=3.20.1\n",
            "etc/timezone": "America/Lima\n",
            "proc/cpuinfo": "".join(core.format(n=n, core=n // 2) for n in range(4)),
            "proc/meminfo": "MemTotal: 2000000 kB\n",
            "proc/1/comm": "init\n",
            "proc/1/cgroup": "1:cpu:/\n",
            "proc/self/mounts": "/dev/vda1 / xfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n",
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
            "sys/class/dmi/id/product_serial": "SECRET-1234\n",
            "sys/block/vda/size": "1024\n",
            "sys/block/vda/queue/rotational": "1\n",
            "sys/block/sr0/size": "2048\n",
        },
    )


@pytest.fixture
def gpu_root(tmp_path: Path) -> Path:
    """A server with two NVIDIA boards, a management display chip and an AMD board."""
    files: dict[str, str] = {"proc/self/mounts": "/dev/nvme0n1p2 / ext4 rw 0 0\n"}
    links: dict[str, str] = {}
    boards = (
        ("0000:01:00.0", "0x10de", "0x030200", "0x27b8", "nvidia"),
        ("0000:02:00.0", "0x10de", "0x030200", "0x27b8", "nvidia"),
        ("0000:03:00.0", "0x1a03", "0x030000", "0x2000", "ast"),
        ("0000:04:00.0", "0x1002", "0x030000", "0x744c", "amdgpu"),
        ("0000:05:00.0", "0x10de", "0x040300", "0x22bd", "snd_hda_intel"),
    )
    for slot, vendor, kind, device, driver in boards:
        base = f"sys/bus/pci/devices/{slot}"
        files |= {f"{base}/vendor": vendor, f"{base}/class": kind, f"{base}/device": device}
        links[f"{base}/driver"] = f"../../../bus/pci/drivers/{driver}"
    return plant(tmp_path / "gpu", files, links)


@pytest.fixture
def container_root(tmp_path: Path) -> Path:
    """A Podman container whose root is an overlay, with files mounted from the host's disk."""
    mounts = (
        "overlay / overlay rw 0 0\n/dev/sda1 /etc/hosts ext4 rw 0 0\n"
        "/dev/sdb1 /data ext4 rw 0 0\n/dev/sdb1 /data/again ext4 rw 0 0\n"
        "/dev/sdc1 /mnt/with\\040space ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    return plant(
        tmp_path / "container",
        {
            "proc/self/mounts": mounts,
            "run/.containerenv": "",
            "etc/hosts": "127.0.0.1 localhost\n",
            "data/again/": "",
            "mnt/with space/": "",
        },
    )


@pytest.fixture
def empty_root(tmp_path: Path) -> Path:
    root = tmp_path / "empty"
    root.mkdir()
    return root
