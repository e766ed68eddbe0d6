"""A family by hand: a parent on the queue under test, its children, and their ends as a courier brings them."""

from __future__ import annotations

from typing import Any

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Claimed, Ground, outcome


async def running_parent(ground: Ground, *policies: str, job_id: str = "mum") -> Claimed:
    """A parent claimed by `ana`, with a child `c0`, `c1` … of each policy, on the queue `far`."""
    await ground.register()
    await ground.enqueue(id=job_id)
    (claim,) = await ground.claim(1)
    assert await add(ground, claim, *policies) == len(policies)
    return claim


async def add(ground: Ground, claim: Claimed, *policies: str, worker: str = "ana") -> int:
    """Notes the children; how many were new."""
    place, entry, fields = claim
    flat = [
        part
        for i, policy in enumerate(policies)
        for part in (f"c{i}", f"{policy} far {fields['id']}.c{i}", f'{{"queue":"far","n":{i}}}')
    ]
    return int(await ground.run(scripts.ADD_CHILDREN, worker, place, entry, fields["id"], *flat))


async def accept(ground: Ground, *ends: tuple[str, str], job_id: str = "mum") -> list[int]:
    """The ends (key, state) of children of one parent are brought."""
    flat = []
    for key, state in ends:
        reason = "" if state == "completed" else "Broken: it broke"
        flat += [job_id, key, state, reason, f'{{"key":"{key}","state":"{state}"}}']
    return [int(number) for number in await ground.run(scripts.ACCEPT, "", *flat)]


async def wait(ground: Ground, claim: Claimed, seen: int = 0) -> str:
    """The parent's handler waits for its children; the state that it is in then."""
    reply = await ground.settle(outcome(claim, "waits", f'{{"seen":{seen},"set":{{"waits":"1"}}}}'))
    assert reply[2] == b"1"
    return str(await ground.find(claim[2]["id"]))


async def outgoing(ground: Ground, mend: bool = False) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What other queues are to be told: planned, ends, felled."""
    reply: Any = await ground.run(scripts.OUTGOING, 100, int(mend))
    planned, ends, felled = (
        {name.decode(): text.decode() for name, text in zip(flat[::2], flat[1::2], strict=True)} for flat in reply[:3]
    )
    return planned, ends, felled
