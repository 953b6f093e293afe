"""What goes wrong between Ansible and a node, each with a sentence for the person who reads it.

AnsibleBridgeError(CenterError)
├── AwayError        no center answers; nothing is known
├── RefusedError     the center answered with a problem
├── NotReachedError  the node did not take the command: nothing was run, or nobody knows
├── NotRunError      the node took it, and it came to no end that has an exit code
└── OutputCutError   it was run, but the node kept only a part of what it wrote
"""

from farshore_center.errors import CenterError


class AnsibleBridgeError(CenterError):
    """Root of this room."""


class AwayError(AnsibleBridgeError):
    """The center can't be reached, or does not serve now."""


class RefusedError(AnsibleBridgeError):
    """``fields``: what of the request was wrong."""

    def __init__(self, status: int, text: str, fields: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.status = status
        self.fields = fields


class NotReachedError(AnsibleBridgeError):
    """For Ansible the host is unreachable."""


class NotRunError(AnsibleBridgeError):
    """For Ansible the task has failed."""


class OutputCutError(AnsibleBridgeError):
    """For Ansible the task has failed; the command itself ran to its end."""
