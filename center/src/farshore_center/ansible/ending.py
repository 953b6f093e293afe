"""What became of a command at its node: gathered from events and the record. Pure.

A command's output comes in chunks, and a chunk may be in an event, in the record, in both, or still
under way; each counts once, by its place.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from farshore_center.ansible.errors import (
    AnsibleBridgeError,
    NotReachedError,
    NotRunError,
    OutputCutError,
)

FINAL = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "interrupted", "rejected", "expired"}
)
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_SIGNALLED = 128


@dataclass(slots=True, kw_only=True)
class Target:
    """A command at its node, as far as it is known. ``partial``: an event told its state alone, the
    record has more."""

    id: str
    state: str = "queued"
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    partial: bool = False
    states: set[str] = field(default_factory=set)
    chunks: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        return self.state in FINAL and not self.partial

    @property
    def wanting(self) -> bool:
        """Its end is known and what it came to is not: of a secret command the node does not remember
        that, and may have said the end again before its first word on it has arrived."""
        return self.state in ("succeeded", "failed") and self.result is None and self.error is None

    @property
    def taken(self) -> bool:
        """The node has it."""
        return bool(self.states & {"received", "accepted", "running"})

    def absorb(self, said: Mapping[str, Any]) -> None:
        """``said``: an event's data, or the target in the command's record."""
        # Events of the center itself and the node's reports may cross; an end stays an end, but
        # the node's word overrules an expiry.
        state = str(said["state"])
        if state in FINAL or self.state not in FINAL:
            news = self.partial or state != self.state
            self.partial = news and bool(said.get("secret"))
            self.state = state
        self.states.add(state)
        self.reason = said.get("reason") or self.reason
        self.result = said.get("result") or self.result
        self.error = said.get("error") or self.error
        for chunk in said.get("output") or ():
            self.chunks[chunk["stream"], chunk["offset"]] = chunk["text"]
        for step in said.get("history") or ():
            self.states.add(str(step[0]))

    def text(self, stream: str) -> str | None:
        """All that the stream said; None while a chunk in the middle is missing."""
        texts: list[str] = []
        expected: int | None = 0
        for (_, offset), text in sorted(c for c in self.chunks.items() if c[0][0] == stream):
            if expected is not None and offset > expected:
                return None
            texts.append(text)
            # A byte that was no text has become three: from there on, places can't be counted.
            known = expected is not None and _REPLACED not in text
            expected = offset + len(text.encode()) if known else None
        return "".join(texts)

    def exit_code(self) -> int:
        result = self.result or {}
        if result.get("exit_code") is not None:
            return int(result["exit_code"])
        try:
            return _SIGNALLED + signal.Signals[str(result.get("signal"))].value
        except KeyError:
            return _SIGNALLED

    def why_not_run(self, node: str) -> AnsibleBridgeError | None:
        """What to raise; None where the program has an exit code and all of its output was kept."""
        error = self.error or {}
        said = str(error.get("message") or self.reason or "no reason was given")
        see = f"see: farshore command {self.id}"
        if self.state == "expired":
            if "sent" in self.states:
                return NotReachedError(
                    f"{node} did not answer in time ({said}); the command was on its way, and may "
                    f"still run: {see}"
                )
            return NotReachedError(f"{node} did not come online in time; nothing was run")
        if self.state == "cancelled":
            return NotReachedError(f"the command was cancelled before {node} took it: {see}")
        if self.state == "rejected":
            return NotReachedError(f"{node} refuses the command: {said}")
        if self.state == "timed_out":
            return NotRunError(f"ended at {node}: {said} (option timeout_s, farshore_timeout_s)")
        if self.state == "interrupted":
            return NotRunError(f"interrupted at {node}: {said}; it is not run again: {see}")
        if self.result is None or "exit_code" not in self.result:
            return NotRunError(f"failed at {node}: {said}: {see}")
        return self._why_cut(node)

    def _why_cut(self, node: str) -> OutputCutError | None:
        result = self.result or {}
        cut = result.get("output_cut_bytes")
        if not cut:
            return None
        return OutputCutError(
            f"{node} ran it (exit code {self.exit_code()}), but kept only the beginning of its "
            f"output: {cut} bytes are cut, even compressed. Let it write a file and fetch that, or "
            "raise the setting output_max_bytes of the agent"
        )
