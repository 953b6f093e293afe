"""A program: hands one piece of work to a Dask cluster, waits for it, and leaves its result.

It is run as a file, so that its functions reach the workers by value: nothing of Farshore needs to be
installed there. Its own end says how it went: 0 done, 1 the work failed, 2 the order can't be carried out,
3 the cluster was not reached or was lost. By SIGTERM it takes the work back.
"""

import json
import os
import shutil
import signal
import sys
import traceback
import uuid
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

DONE, FAILED, BAD_ORDER, NO_CLUSTER = 0, 1, 2, 3
CLOSE_S = 5


def call(entry: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """On a worker."""
    import importlib

    module, _, name = entry.partition(":")
    found: Any = importlib.import_module(module)
    for each in name.split("."):
        found = getattr(found, each)
    return found(*args, **kwargs)


class Stopped(BaseException):
    """SIGTERM came."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 # a signal's handler
    raise Stopped


def _say(line: str) -> None:
    """Into the instance's output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(order: dict[str, Any]) -> int:
    from distributed import Client

    signal.signal(signal.SIGTERM, _stop)
    try:
        client = Client(order["scheduler"], timeout=order["wait_s"], set_as_default=False)
    except Exception as exc:
        _say(f"{order['scheduler']}: no scheduler answers: {exc}")
        return NO_CLUSTER
    try:
        return _carry_out(client, order)
    finally:
        client.close(CLOSE_S)


def _carry_out(client: Any, order: dict[str, Any]) -> int:
    if order["wheel"]:
        _send(client, Path(order["wheel"]))
    kwargs = dict(order["kwargs"])
    if order["context"]:
        own = {name: value for name, value in os.environ.items() if name.startswith("FARSHORE_")}
        kwargs[order["context"]] = own
    future = client.submit(
        call,
        order["entry"],
        order["args"],
        kwargs,
        key=f"farshore-{order['work']}-{uuid.uuid4().hex[:8]}",
        pure=False,
        resources=order["resources"] or None,
        retries=order["retries"],
    )
    _say(f"handed to {order['scheduler']} as {future.key}")
    try:
        return _heard(future)
    except Stopped:
        future.cancel(force=True)
        raise


def _heard(future: Any) -> int:
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    try:
        result = future.result()
    except (FutureCancelledError, CommClosedError, TimeoutError) as exc:
        _say(f"the cluster has lost it: {exc}")
        return NO_CLUSTER
    except Exception as exc:
        _say_trouble(exc)
        return FAILED
    try:
        text = json.dumps(result)
    except (TypeError, ValueError) as exc:
        _say(f"what it returned is no JSON: {exc}")
        return FAILED
    if result is not None and "FARSHORE_RESULT" in os.environ:
        Path(os.environ["FARSHORE_RESULT"]).write_text(text)
    _say("done")
    return DONE


def _send(client: Any, wheel: Path) -> None:
    """Workers import from what is called a zip archive, and a wheel is one."""
    copy = wheel.with_name(f".{os.getpid()}-{wheel.stem}.zip")
    shutil.copyfile(wheel, copy)
    try:
        client.upload_file(str(copy))
    finally:
        copy.unlink()


def _say_trouble(exc: BaseException) -> None:
    """As it went at the worker, without the way that it came here."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_name != call.__name__:
        frames = frames.tb_next
    traceback.print_exception(type(exc), exc, frames)


if __name__ == "__main__":
    try:
        code = main(json.loads(sys.argv[1]))
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        raise SystemExit(BAD_ORDER) from None
    except Exception:
        traceback.print_exc()
        code = BAD_ORDER
    raise SystemExit(code)
