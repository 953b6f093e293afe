"""How a command's last word is put: whatever its verb came to, the report fits. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from farshore_protocol.codec import encode
from farshore_protocol.commands import CommandError, Output
from farshore_protocol.errors import LocalProtocolError

from farshore_edge.commands.teller import first_portion
from farshore_edge.commands.verbs.model import Outcome

RESULT_MAX_BYTES = 92 * 1024
RESULT_BESIDE_OUTPUT_BYTES = 16 * 1024


def interrupted(code: str, message: str) -> Outcome:
    return Outcome(state="interrupted", error=CommandError(code=code, message=message))


def ended(
    outcome: Outcome, unsaid: Sequence[Output]
) -> tuple[list[tuple[Output, ...]], tuple[Output, ...], Outcome]:
    """Portions of output to report first, the output of the last report, and what it says.

    A result that can't be sent makes the command fail: nobody would learn that it succeeded.
    """
    outcome, size = _sendable(outcome)
    portions: list[tuple[Output, ...]] = []
    rest = list(unsaid)
    while rest:
        portion, rest = first_portion(rest)
        portions.append(tuple(portion))
    beside = portions and size <= RESULT_BESIDE_OUTPUT_BYTES
    last = portions.pop() if beside else ()
    return portions, last, outcome


def _sendable(outcome: Outcome) -> tuple[Outcome, int]:
    try:
        size = len(encode(outcome.result))
    except LocalProtocolError as exc:
        return _failed(outcome, "broken", f"the result is no JSON: {exc}"), 0
    if size > RESULT_MAX_BYTES:
        message = f"the result has {size} bytes, expected {RESULT_MAX_BYTES} or fewer"
        return _failed(outcome, "too_large", message), 0
    return outcome, size


def _failed(outcome: Outcome, code: str, message: str) -> Outcome:
    error = CommandError(code=code, message=message)
    return replace(outcome, state="failed", result=None, error=error)
