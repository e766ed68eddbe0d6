"""A queue with a job that has a hook on failure, for the tests of the scripts that keep and lend failures."""

from __future__ import annotations

from typing import Any

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Claimed, Ground, id_of

MONTH_MS = 30 * 86_400_000


async def hook(ground: Ground, *names: str) -> None:
    """Notes that these jobs have hooks."""
    assert await ground.run(scripts.HOOKS, MONTH_MS, *names) == 0


def failure(ground: Ground, claim: Claimed, kind: str = "failed") -> tuple[str, ...]:
    """What settles a claim as failed, now."""
    record = f'{{"id":"{id_of(claim)}","name":"{claim[2]["name"]}","state":"failed","finished_ms":{ground.now}}}'
    return claim[0], claim[1], id_of(claim), kind, record


async def fail(ground: Ground, *, worker: str = "ana", kind: str = "failed", **extra: Any) -> str:
    """Enqueues a job, which fails in its run; returns its id."""
    job_id = await ground.enqueue(**extra)
    (claim,) = await ground.claim(worker=worker)
    await ground.settle(failure(ground, claim, kind), worker=worker)
    return job_id


async def lent(ground: Ground, *names: str, at_most: int = 10, lease: int = 60_000) -> list[str]:
    """The members that are lent for these names."""
    reply = await ground.run(scripts.UNTOLD, lease, at_most, *names)
    return [member.decode() for member in reply[1::3]]
