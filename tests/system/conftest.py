"""Makers of programs; what still runs at the end of a test is killed, by its pid."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from system.programs import AgentProgram, CenterProgram, MosquittoProgram, Program


@pytest.fixture
async def programs() -> AsyncIterator[list[Program]]:
    made: list[Program] = []
    yield made
    for program in made:
        if program.process is not None:
            program.kill()
        if isinstance(program, CenterProgram):
            await program.http.aclose()
    await asyncio.sleep(0)  # asyncio closes what was cut in its next turn


@pytest.fixture
def make_center(programs: list[Program], tmp_path: Path) -> Callable[..., CenterProgram]:
    def make(**more: str) -> CenterProgram:
        program = CenterProgram(tmp_path, **more)
        programs.append(program)
        program.start()
        return program

    return make


@pytest.fixture
def make_agent(programs: list[Program], tmp_path: Path) -> Callable[[str, int], AgentProgram]:
    def make(name: str, port: int) -> AgentProgram:
        program = AgentProgram(tmp_path, name, port)
        programs.append(program)
        program.start()
        return program

    return make


@pytest.fixture
def mosquitto(programs: list[Program], tmp_path: Path) -> MosquittoProgram:
    program = MosquittoProgram(tmp_path)
    programs.append(program)
    program.start()
    return program
