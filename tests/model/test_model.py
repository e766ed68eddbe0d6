"""Proves that queues on a real server do what a model of them in Python says, step by step, for programs at random.

Every day and in CI the same programs are played, so that a failure means the change; `MODEL_SECONDS` says how long to
go on with new ones, `MODEL_SEED` with which program to begin; `MODEL_PROGRAM` runs one alone.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.model.families import FAMILIES
from tests.model.program import QUEUE, Program, Stage, play, report, shrink

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis

EVERY_DAY_SECONDS = 12.0
CI_SECONDS = 150.0
CI_FAMILY_SECONDS = 80.0
SHRINK_SECONDS = 60.0
ASKED_SECONDS = float(os.environ.get("MODEL_SECONDS", 0))


@pytest.fixture
def server(start_redis: StartRedis) -> RedisServer:
    """A server whose data survives being killed."""
    return start_redis("--appendonly", "yes", "--appendfsync", "no")


async def go_on(server: RedisServer, stage: Stage, seconds: float) -> None:
    """Programs one after another, until the time is over or one fails."""
    if text := os.environ.get("MODEL_PROGRAM"):
        program = Program.read(text)
        if failure := await play(server, stage, program):
            pytest.fail(report(program, failure), pytrace=False)
        return
    seed = int(os.environ.get("MODEL_SEED") or (random.SystemRandom().randrange(10**9) if ASKED_SECONDS else 1))
    deadline = time.monotonic() + seconds
    played = 0
    while time.monotonic() < deadline:
        program = Program.drawn(stage, seed + played)
        failure = await play(server, stage, program)
        if failure:
            found = report(*await shrink(server, stage, program, failure, SHRINK_SECONDS))
            pytest.fail(f"{found}\n(MODEL_SEED={program.seed} begins with the whole program)", pytrace=False)
        played += 1
    assert played > 0


@pytest.mark.timeout(EVERY_DAY_SECONDS + 2 * SHRINK_SECONDS)
async def test_a_queue_does_what_the_model_says(server: RedisServer) -> None:
    """Every key is compared after every step, some seconds long."""
    await go_on(server, QUEUE, EVERY_DAY_SECONDS)


@pytest.mark.long
@pytest.mark.timeout(max(CI_SECONDS, ASKED_SECONDS) + 2 * SHRINK_SECONDS)
async def test_a_queue_does_what_the_model_says_for_as_long_as_asked(server: RedisServer) -> None:
    """The same for some minutes in CI, and for MODEL_SECONDS on demand."""
    await go_on(server, QUEUE, ASKED_SECONDS or CI_SECONDS)


@pytest.mark.timeout(EVERY_DAY_SECONDS + 2 * SHRINK_SECONDS)
async def test_families_do_what_the_model_says(server: RedisServer) -> None:
    """Parents, children and what is carried between their queues, some seconds long."""
    await go_on(server, FAMILIES, EVERY_DAY_SECONDS)


@pytest.mark.long
@pytest.mark.timeout(max(CI_FAMILY_SECONDS, ASKED_SECONDS) + 2 * SHRINK_SECONDS)
async def test_families_do_what_the_model_says_for_as_long_as_asked(server: RedisServer) -> None:
    """The same for a minute in CI, and for MODEL_SECONDS on demand."""
    await go_on(server, FAMILIES, ASKED_SECONDS or CI_FAMILY_SECONDS)
