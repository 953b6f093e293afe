"""amqtt's own broker as it is, a process of its own: ``python -m bench.stock_broker PORT``.

The other side of the ingest measurement. Its two logging plugins and its statistics, which are in
its default configuration, are left out: it gets the least to do.
"""

import asyncio
import logging
import signal
import sys
from typing import Any

from amqtt.broker import Broker


def configuration(port: int) -> dict[str, Any]:
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }


async def serve(port: int) -> None:
    broker = Broker(configuration(port))
    await broker.start()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1])))
