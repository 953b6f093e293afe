"""What the center checks of a driver's settings is what the driver at the node takes: one type for both."""

from pathlib import Path

from farshore_edge.tasks.host import host_tasks
from farshore_protocol.tasks.settings import SETTINGS


def test_center_and_node_mean_the_same_settings(tmp_path: Path) -> None:
    """A driver whose package is not installed here has them as well."""
    own = {each.name: each.settings for each in host_tasks(tmp_path).drivers}
    assert own == dict(SETTINGS)
