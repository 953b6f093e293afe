"""Commands at one node: given once, waited for to their end.

A command's id comes from its ``Idempotency-Key``, made here before it is sent: however often a
request has to be repeated, the center makes one command, and a node runs an id once. It waits for
live events; where they fail it asks.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty
from typing import Any

from farshore_center.ansible import script
from farshore_center.ansible.ending import FINAL, Target
from farshore_center.ansible.errors import AwayError, NotReachedError, NotRunError, RefusedError
from farshore_center.ansible.listener import Listener
from farshore_center.ansible.rest import Center

NET_S = 5.0
"""How often the record is looked at beside live events …"""
ASK_FIRST_S, ASK_MOST_S = 0.05, 1.0
"""… and without them."""
MARGIN_S = 30.0
"""Beyond ttl and timeout: for what was done and can't be said yet."""
AWAY_S = 60.0
MISSING_OUTPUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    stdout: bytes
    stderr: bytes


class Commands:
    """``ttl_s``: how long an absent node is waited for; ``timeout_s``: how long a program may run.

    ``secret``: the center's history keeps neither what is sent nor what is answered.
    """

    def __init__(
        self,
        center: Center,
        node: str,
        *,
        ttl_s: float,
        timeout_s: float,
        secret: bool = True,
        monotonic_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        new_key: Callable[[], str] = lambda: f"ansible-{uuid.uuid4().hex}",
    ) -> None:
        self._center = center
        self._name = node
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._secret = secret
        self._monotonic_s = monotonic_s
        self._pause = pause
        self._new_key = new_key
        self._listener: Listener | None = None
        self._targets: dict[str, Target] = {}
        self._away_since_s: float | None = None

    @property
    def node(self) -> str:
        return self._name

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._center.close()

    def ended(self, target: Target) -> tuple[str, Ended]:
        """Waits for the end, and then for output that is still under way."""
        self.await_end(target)
        deadline_s = self._monotonic_s() + MISSING_OUTPUT_S
        pause_s = 0.0
        while True:
            out, err = target.text("stdout"), target.text("stderr")
            kind, stdout = ("", None) if out is None else script.unpacked(out)
            if stdout is not None and err is not None and kind:
                code = target.exit_code()
                return kind, Ended(code=code, stdout=stdout, stderr=err.encode())
            if self._monotonic_s() >= deadline_s:
                raise NotRunError(self._incomplete(target))
            self._pause(pause_s)
            pause_s = min(pause_s * 2 + 0.02, 1.0)
            self._look(target)

    def _incomplete(self, target: Target) -> str:
        said = (target.text("stderr") or "").strip()
        return (
            f"{self._name} ran it (exit code {target.exit_code()}), but its output can't be put "
            f"together{': ' + said if said else ''}; see: farshore command {target.id}"
        )

    def give(self, args: dict[str, Any]) -> Target:
        listener = self._listening()
        if not self._targets:
            listener.drain()
        body = {
            "node": self._name,
            "verb": "exec",
            "args": args,
            "ttl_s": self._ttl_s,
            "timeout_s": self._timeout_s,
            "secret": self._secret,
        }
        try:
            made = self._center.post("/commands", body, self._new_key())
        except AwayError as exc:
            raise NotReachedError(str(exc)) from exc
        except RefusedError as exc:
            # The answer to a node that does not exist names the field.
            nowhere = exc.fields & {"node", "nodes"} or exc.status == 404
            raise (NotReachedError if nowhere else NotRunError)(str(exc)) from exc
        target = Target(id=str(made["id"]))
        target.absorb(made["targets"][0])
        self._targets[target.id] = target
        return target

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._center.another(), self._name)
        return self._listener

    def await_end(self, target: Target) -> None:
        """Raises one of ``errors`` where it did not end with an exit code."""
        listener = self._listening()
        given_s = self._monotonic_s()
        pause_s = ASK_FIRST_S
        try:
            while not target.final:
                left_s = given_s + self._patience_s(target) - self._monotonic_s()
                if left_s <= 0:
                    raise NotReachedError(self._given_up(target))
                wait_s = NET_S if listener.subscribed else pause_s
                try:
                    event = listener.next(min(wait_s, left_s))
                except Empty:
                    event = None
                    pause_s = min(pause_s * 2, ASK_MOST_S)
                if event is None:
                    for each in list(self._targets.values()):
                        self._look(each)
                elif (found := self._targets.get(str(event.get("command")))) is not None:
                    found.absorb(event["data"])
                    if found.partial and found.state in FINAL:
                        self._look(found)
            self._await_result(target)
        finally:
            self._targets.pop(target.id, None)
        why = target.why_not_run(self._name)
        if why is not None:
            raise self._explained(why)

    def _await_result(self, target: Target) -> None:
        deadline_s = self._monotonic_s() + MISSING_OUTPUT_S
        pause_s = ASK_FIRST_S
        while target.wanting and self._monotonic_s() < deadline_s:
            self._pause(pause_s)
            pause_s = min(pause_s * 2, ASK_MOST_S)
            self._look(target)

    def _patience_s(self, target: Target) -> float:
        return self._ttl_s + MARGIN_S + (self._timeout_s if target.taken else 0.0)

    def _given_up(self, target: Target) -> str:
        return (
            f"nothing was heard of the command at {self._name} within "
            f"{self._patience_s(target):.0f} s; it may have run: farshore command {target.id}"
        )

    def _look(self, target: Target) -> None:
        """At the record; a center that is away is waited for, it may only restart."""
        try:
            record = self._center.get_now(f"/commands/{target.id}")
        except AwayError as exc:
            now_s = self._monotonic_s()
            self._away_since_s = self._away_since_s or now_s
            if now_s - self._away_since_s > AWAY_S:
                text = f"{exc}; the command {target.id} may run all the same"
                raise NotReachedError(text) from exc
            return
        except RefusedError as exc:
            raise NotReachedError(str(exc)) from exc
        self._away_since_s = None
        target.absorb(record["targets"][0])

    def _explained(self, why: Exception) -> Exception:
        """With what the center knows about a node that did not answer."""
        if not isinstance(why, NotReachedError):
            return why
        try:
            node = self._center.get(f"/nodes/{self._name}")
        except (AwayError, RefusedError):
            return why
        seen = f", last seen {node['last_seen']}" if node.get("last_seen") else ""
        return NotReachedError(f"{why} (it is {node['state']}{seen}; ttl {self._ttl_s:g} s)")
