"""An overlay: a saved selector with its place among the layers. Data alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """``priority``: no two have the same, a higher one wins."""

    name: str
    selector: str
    priority: int
    description: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    revision: int = 1
