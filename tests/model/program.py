"""Programs: lists of verbs, each with a seed for its choices, so that a program does the same each time it is run and
stays runnable when steps are left out. A program that fails is shrunk, and told with what repeats it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import redis.asyncio as redis_async
from redis.exceptions import RedisError

from dhanam_jobs.engine import Engine
from tests.model import clearing, limits, operators, producers, schedules, sweeps, workers, world
from tests.model.field import Field, Mismatch
from tests.model.picture import raw_client

if TYPE_CHECKING:
    from tests.conftest import RedisServer

STEPS = 120
#: Inspection takes many trips, so it comes now and then, and at the end.
INSPECT_EVERY = 25


class Ground(Protocol):
    """What verbs act on: the queues on a server, and what ought to be true of them. Fails with Mismatch."""

    story: list[str]

    async def check(self, rng: Random) -> None:
        """Looks at what can be compared after each step."""

    async def inspect(self) -> None:
        """Looks at what takes longer."""

    async def end(self) -> None:
        """What is still to be true when the program is over."""


@dataclass(frozen=True)
class Stage:
    """What programs are made of: verbs with their weights, the first steps, and the ground that they act on."""

    weights: dict[Callable[[Any, Random], Coroutine[Any, Any, None]], int]
    first: tuple[str, ...]
    ground: Callable[[RedisServer, Engine, redis_async.Redis, Random], Ground]


WEIGHTS = {
    **producers.VERBS,
    **workers.VERBS,
    **sweeps.VERBS,
    **limits.VERBS,
    **operators.VERBS,
    **clearing.VERBS,
    **schedules.VERBS,
    **world.VERBS,
}
QUEUE = Stage(WEIGHTS, ("register", "register"), Field)


@dataclass(frozen=True)
class Program:
    """`seed` decides what holds for the whole program (retention); each step is a verb's name and a seed."""

    seed: int
    steps: tuple[tuple[str, int], ...]

    @classmethod
    def drawn(cls, stage: Stage, seed: int, length: int = STEPS) -> Program:
        rng = Random(seed)
        # Each program favours verbs of its own: what never meets in an even mixture does in some of them.
        weights = [weight * rng.choice([0.1, 0.5, 1, 1, 4]) for weight in stage.weights.values()]
        verbs = [verb.__name__ for verb in stage.weights]
        names = [*stage.first, *rng.choices(verbs, weights=weights, k=length)]
        return cls(seed, tuple((name, rng.randrange(10_000)) for name in names))

    @classmethod
    def read(cls, text: str) -> Program:
        """From what `str` made of it."""
        seed, *steps = text.split()
        return cls(int(seed), tuple((name, int(number)) for name, _, number in (s.partition(".") for s in steps)))

    def __str__(self) -> str:
        return " ".join([str(self.seed), *(f"{name}.{number}" for name, number in self.steps)])


@dataclass(frozen=True)
class Failure:
    """What a program came to: the error, and the steps up to it in words."""

    error: str
    story: tuple[str, ...]


async def play(server: RedisServer, stage: Stage, program: Program) -> Failure | None:
    """Runs a program on an emptied server."""
    async with Engine.connect(server.url) as engine, raw_client(server.url) as raw:
        await raw.flushall()
        ground = stage.ground(server, engine, raw, Random(program.seed))
        verbs = {verb.__name__: verb for verb in stage.weights}
        try:
            for number, (name, seed) in enumerate(program.steps, 1):
                rng = Random(seed)
                await verbs[name](ground, rng)
                await ground.check(rng)
                if number % INSPECT_EVERY == 0:
                    await ground.inspect()
            await ground.inspect()
            await ground.end()
        except (Mismatch, RedisError) as error:
            return Failure(f"{type(error).__name__}: {error}", tuple(ground.story))
    return None


async def shrink(
    server: RedisServer, stage: Stage, program: Program, failure: Failure, seconds: float
) -> tuple[Program, Failure]:
    """A shorter program that fails too, found within that time: ever smaller parts are left out."""
    deadline = time.monotonic() + seconds
    size = max(1, len(program.steps) // 2)
    while True:
        start, shorter = 0, False
        while start < len(program.steps) and time.monotonic() < deadline:
            less = Program(program.seed, program.steps[:start] + program.steps[start + size :])
            found = await play(server, stage, less)
            if found:
                program, failure, shorter = less, found, True
            else:
                start += size
        if time.monotonic() >= deadline or (size == 1 and not shorter):
            return program, failure
        size = max(1, size // 2)


def report(program: Program, failure: Failure) -> str:
    """What a person needs to see, and what repeats it."""
    story = "\n".join(f"  {number}. {line}" for number, line in enumerate(failure.story, 1))
    return f"{failure.error}\n\nWhat happened:\n{story}\n\nRepeat it with MODEL_PROGRAM='{program}'"
