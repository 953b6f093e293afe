"""What a desired configuration from the center means for the node. Pure."""

from typing import Literal

from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.config.digest import canonical, digest
from farshore_protocol.config.messages import MAX_CONFIG_BYTES, ConfigError, DesiredConfig

from farshore_edge.config.model import State, Version

Word = Literal["take", "ahead"]

MAX_DESIRED_BYTES = MAX_CONFIG_BYTES + MAX_MESSAGE_BYTES
"""Of a message, inflated: the configuration and all that is around it."""


def decide(state: State, desired: DesiredConfig) -> Word:
    """A lower number than the node's own is not taken: the center must have lost its count."""
    if state.desired is not None and desired.rev < state.desired.rev:
        return "ahead"
    return "take"


def flaw(desired: DesiredConfig) -> ConfigError | None:
    """Why it is not even tried: nothing of the node is asked for this answer."""
    size = len(canonical(desired.config))
    if size > MAX_CONFIG_BYTES:
        message = f"{size} bytes, expected {MAX_CONFIG_BYTES} or fewer"
        return ConfigError(stage="received", code="too_large", message=message)
    found = digest(desired.config)
    if found != desired.digest:
        message = f"the configuration has the digest {found}, expected {desired.digest}"
        return ConfigError(stage="received", code="bad_digest", message=message)
    return None


def version_of(desired: DesiredConfig) -> Version:
    return Version(
        rev=desired.rev,
        digest=desired.digest,
        group=desired.group,
        labels=dict(desired.labels),
    )
