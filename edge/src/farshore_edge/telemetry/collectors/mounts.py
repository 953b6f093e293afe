"""Which file systems of the mount table are worth measuring. It reads no file system itself.

A network file system is never picked: asking a dead server for its free space blocks for
minutes, and no timeout in the process can end that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# fmt: off
LOCAL_TYPES = frozenset(
    (
        "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus",
        "jffs2", "jfs", "nilfs2", "ntfs", "ntfs3", "reiserfs", "ubifs", "vfat", "xfs", "zfs",
    )
)
"""Types that keep their data on this machine. squashfs, erofs and iso9660 are always full and
never change; tmpfs is memory; both would only be noise."""

NETWORK_TYPES = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre",
        "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs",
    )
)
# fmt: on
_LOCAL_FUSE_ROOTS = frozenset({"fuse.fuse-overlayfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    device: str
    point: str
    fstype: str


def parse_mounts(table: str) -> list[Mount]:
    """The lines of /proc/self/mounts, in their order; lines that make no sense are skipped."""
    mounts = []
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) >= 3:
            device, point, fstype = (_OCTAL.sub(_unescape, field) for field in fields[:3])
            mounts.append(Mount(device=device, point=point, fstype=fstype))
    return mounts


def measurable_mounts(mounts: list[Mount]) -> list[Mount]:
    """One mount for each local file system, the root first.

    The root counts whatever it is (an overlay in a container), unless it lives on the network.
    What is mounted over something hides it. A device that is mounted several times counts once,
    under its shortest path.
    """
    visible = {mount.point: mount for mount in mounts}
    chosen: dict[str, Mount] = {}
    for mount in sorted(visible.values(), key=lambda mount: (len(mount.point), mount.point)):
        local = mount.fstype in LOCAL_TYPES
        if local or (mount.point == "/" and not _is_remote(mount.fstype)):
            chosen.setdefault(mount.device, mount)
    return list(chosen.values())


def _is_remote(fstype: str) -> bool:
    if fstype in _LOCAL_FUSE_ROOTS:
        return False
    return fstype in NETWORK_TYPES or fstype.startswith("fuse.")


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 8))
