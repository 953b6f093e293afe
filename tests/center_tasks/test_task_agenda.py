"""The loop of tasks waits for the next moment, and where it is held it does not spin."""

import asyncio

from farshore_center.tasks.agenda import Agenda


async def test_what_is_due_ends_the_wait_unless_the_center_is_held() -> None:
    loop = asyncio.get_running_loop()
    agenda = Agenda(now_ms=lambda: round(loop.time() * 1000), now_s=loop.time)
    agenda.begin()
    agenda.put(("node", "n1", 0), loop.time() - 1)
    begun = loop.time()
    await agenda.wait()
    assert loop.time() - begun < 30
    begun = loop.time()
    await agenda.wait(0.2)
    assert loop.time() - begun >= 0.19
    agenda.wake()
    await agenda.wait(600)
    assert agenda.take_due(10) == [("node", "n1", 0)]
