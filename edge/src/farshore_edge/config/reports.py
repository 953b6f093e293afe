"""``rep/config`` and ``evt/override``, as bodies. Pure."""

from dataclasses import asdict
from typing import Any

from farshore_protocol.config.messages import ConfigError, Difference, Override

from farshore_edge.config.model import Failure, State, Version


def override_in_short(override: Override) -> dict[str, Any]:
    return asdict(override)


def body(
    about: Version,
    state: str,
    *,
    kept: State,
    effective: str | None,
    error: ConfigError | None = None,
    differences: tuple[Difference, ...] = (),
) -> dict[str, Any]:
    """``kept``: what the node runs and keeps just now; ``effective``: the digest of what runs."""
    running = kept.running
    told = running is not None and running.rev > 0
    override = None if running is None else running.override
    return {
        "rev": about.rev,
        "digest": about.digest,
        "state": state,
        "running": running.digest if running is not None and told else None,
        "running_rev": running.rev if running is not None and told else None,
        "effective": effective,
        "error": None if error is None else asdict(error),
        "differences": [asdict(each) for each in differences],
        "override": None if override is None else override_in_short(override),
    }


def standing(
    kept: State, failure: Failure | None, differences: tuple[Difference, ...]
) -> tuple[Version, str, ConfigError | None] | None:
    """What there is to say of the desired configuration (else of what runs); None: not yet clear."""
    running = kept.running
    bare = None if running is None else _bare(running)
    about = kept.desired or bare
    if about is None:
        return None
    if about.same(bare):
        return about, "drifted" if differences else "applied", None
    if failure is not None:
        return about, failure.state, failure.error
    return None


def _bare(version: Version) -> Version:
    """Without its override: as the center knows it."""
    return Version(
        rev=version.rev, digest=version.digest, group=version.group, labels=version.labels
    )


def override_event(action: str, override: Override, **more: Any) -> dict[str, Any]:
    """``action``: ``set``, ``cleared``, ``expired`` or ``expiry_failed``."""
    return {"data": {"action": action, **override_in_short(override), **more}}
