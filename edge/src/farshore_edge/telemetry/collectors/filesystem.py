"""How full the local file systems are, and whether one became read-only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.mounts import measurable_mounts, parse_mounts
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

FILE_SYSTEMS_MAX = 64


class FilesystemCollector:
    """The mount table is parsed again only when its text changed."""

    name = "filesystem"

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
        is_directory: Callable[[str], bool] = os.path.isdir,
    ) -> None:
        self._path = root / "proc/self/mounts"
        self._statvfs = statvfs
        self._is_directory = is_directory
        self._labels = DeviceLabels(self.name, FILE_SYSTEMS_MAX)
        self._table: bytes | None = None
        self._points: list[str] = []

    def sample(self) -> Sample:
        try:
            table = self._path.read_bytes()
        except OSError as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        if table != self._table:
            mounts = measurable_mounts(parse_mounts(table.decode(errors="surrogateescape")))
            # A container gets single files mounted (/etc/hosts): those are no file systems.
            self._points = [m.point for m in mounts if self._is_directory(m.point)]
            self._table = table
        sample: Sample = {}
        unreadable = 0
        for point, label in self._labels.admit(self._points).items():
            try:
                status = self._statvfs(point)
            except OSError:
                unreadable += 1
            else:
                _add_file_system(sample, label, status)
        self._labels.account(sample, unreadable)
        return sample


def _add_file_system(sample: Sample, mount: str, status: os.statvfs_result) -> None:
    total = status.f_blocks * status.f_frsize
    if not total:
        return
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    # As df: what is reserved for root is neither used nor usable.
    usable = used + status.f_bavail * status.f_frsize
    sample[series_name("fs.used_bytes", "mount", mount)] = float(used)
    sample[series_name("fs.total_bytes", "mount", mount)] = float(total)
    if usable:
        sample[series_name("fs.percent", "mount", mount)] = round(100 * used / usable, 1)
    if status.f_files:
        inodes = 100 * (status.f_files - status.f_ffree) / status.f_files
        sample[series_name("fs.inodes_percent", "mount", mount)] = round(inodes, 1)
    sample[series_name("fs.readonly", "mount", mount)] = float(bool(status.f_flag & os.ST_RDONLY))
