"""``cancel``: ends a command of this node by its id.

One that waits is never run; of one that runs, what it started is ended (SIGTERM, then SIGKILL); one
that is at its end stays so, and what it came to is said again; one that has not come yet is not run
when it comes.
"""

from collections.abc import Awaitable, Callable

from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import CancelArgs

from farshore_edge.commands.verbs.model import Context, Handler, Outcome

Cancel = Callable[[str, str | None], Awaitable[str | None]]
"""Takes a command's id and its verb where that is known; gives the state in which it is then, None
when that can't be told."""


def cancel(do: Cancel) -> Handler:
    async def handle(args: CancelArgs, context: Context) -> Outcome:
        if args.id == context.command_id:
            message = "id: a cancel can't cancel itself; expected the id of the command to be ended"
            return _failed("bad_args", message)
        state = await do(args.id, args.verb)
        if state is None:
            return _failed("unknown_state", f"the node's ledger can't say what {args.id} is")
        return Outcome(result={"id": args.id, "state": state, "cancelled": state == "cancelled"})

    return handle


def _failed(code: str, message: str) -> Outcome:
    return Outcome(state="failed", error=CommandError(code=code, message=message))
