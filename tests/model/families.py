"""What befalls families: they are made and grow, their jobs run and end, are cancelled, removed, told of, killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec

from dhanam_jobs.engine import Child, scripts
from dhanam_jobs.engine.children import OnFailure, plan
from dhanam_jobs.engine.errors import EngineUnavailable, JobNotFound, WrongState
from dhanam_jobs.engine.family_tree import Tree
from dhanam_jobs.engine.job import JobState
from dhanam_jobs.engine.scripts import Script
from tests.model.clan import QUEUES, Clan, End, Killed, Member, Name, setbacks_of
from tests.model.field import Claim, Mismatch
from tests.model.program import Stage

POLICIES: tuple[OnFailure, ...] = ("fail", "ignore", "ignore", "continue")
KEYS = ("a", "b", "c")
TREES: tuple[Tree, ...] = ("leave", "take", "take", "take_idle")
STEPS = (scripts.OUTGOING, scripts.ENQUEUE, scripts.SENT, scripts.ACCEPT, scripts.LET_GO, scripts.TAKE_ALONG)
ENDS = (scripts.REMOVE, scripts.CANCEL)


# -- making -----------------------------------------------------------------------------------------------------------


async def plain(clan: Clan, rng: Random) -> None:
    """A job without family, which a parent may wait for later."""
    queue, job_id = rng.choice(QUEUES), f"x{clan.next_number()}"
    unique = rng.choice([None, "u1"])
    clan.tell(f"enqueue {job_id} on {queue}, unique {unique}")
    job = await clan.queues[queue].enqueue("page", 1, id=job_id, unique=unique)
    if job.id == job_id:
        clan.allowed[queue, job_id] += 1
        clan.member((queue, job_id)).stored = True
        if unique:
            clan.joinable.add((queue, job_id))


def _children(clan: Clan, rng: Random, depth: int, *, again: bool) -> list[Child]:
    children = []
    for key in rng.sample(KEYS, rng.randint(1, len(KEYS))):
        queue = rng.choice(QUEUES)
        options: dict[str, Any] = {}
        deeper = _children(clan, rng, depth - 1, again=again) if depth and not again and rng.random() < 0.3 else []
        if not deeper and rng.random() < 0.4:
            known = [name for name in clan.members if name[1].startswith("x")]
            if known and rng.random() < 0.7:
                queue, options["id"] = rng.choice(known)
            else:
                options["unique"] = "u1"
        elif not deeper and rng.random() < 0.2:
            options["delay"] = 5
        children.append(
            Child(key, "page", 1, queue=queue, on_failure=rng.choice(POLICIES), options=options, children=deeper)
        )
    return children


def _adopt(clan: Clan, parent: Name, children: list[Child] | tuple[Child, ...]) -> None:
    member = clan.member(parent)
    for child in children:
        assert child.queue is not None
        name = (child.queue, child.options.get("id", f"{parent[1]}.{child.key}"))
        if child.key in member.children:
            continue
        member.children[child.key] = name, child.on_failure
        clan.member(name)
        if "unique" in child.options:
            clan.joinable.add(name)
        clan.allowed[name] += 1
        if child.children:
            clan.member(name).seen = 0
            _adopt(clan, name, list(child.children))


def _told(children: list[Child] | tuple[Child, ...]) -> str:
    return ", ".join(
        f"{one.key} on {one.queue} ({one.on_failure}{f', {one.options}' if one.options else ''})"
        + (f" with [{_told(list(one.children))}]" if one.children else "")
        for one in children
    )


async def parent(clan: Clan, rng: Random) -> None:
    """A job that waits for children from the start, some of which have children themselves."""
    queue, job_id = rng.choice(QUEUES), f"p{clan.next_number()}"
    children = _children(clan, rng, 2, again=False)
    clan.tell(f"parent {job_id} on {queue} of {_told(children)}")
    await clan.queues[queue].enqueue_parent("sum", 0, children=children, id=job_id)
    clan.allowed[queue, job_id] += 1
    clan.member((queue, job_id)).stored = True
    clan.member((queue, job_id)).seen = 0
    _adopt(clan, (queue, job_id), children)


async def single(clan: Clan, rng: Random) -> None:
    """A job that may find children as it runs."""
    queue, job_id = rng.choice(QUEUES), f"s{clan.next_number()}"
    clan.tell(f"enqueue {job_id} on {queue}")
    await clan.queues[queue].enqueue("sum", 0, id=job_id)
    clan.allowed[queue, job_id] += 1
    clan.member((queue, job_id)).stored = True


# -- running ----------------------------------------------------------------------------------------------------------


async def claim(clan: Clan, rng: Random) -> None:
    """A worker takes some jobs."""
    queue = rng.choice(QUEUES)
    clan.tell(f"claim on {queue}")
    await clan.claim(queue, rng.choice([1, 2, 5]))
    clan.tell(f"  {[one.id for one in clan.held[queue]]} run")


def _running(clan: Clan, rng: Random) -> tuple[str, Claim] | None:
    running = [(queue, one) for queue in QUEUES for one in clan.held[queue]]
    return rng.choice(running) if running else None


async def grow(clan: Clan, rng: Random) -> None:
    """A running job is given children, maybe some of them for a second time; and mostly waits for them then."""
    found = _running(clan, rng)
    if found is None or found[1].id.startswith("x") or "unique" in found[1].fields:
        return
    queue, one = found
    name = (queue, one.id)
    children = _children(clan, rng, 1, again=name in clan.ends)
    if name in clan.given and rng.random() < 0.8:
        children = clan.given[name]  # a handler that is run again asks for the same
    clan.given[name] = [msgspec.structs.replace(child, children=()) for child in children]
    clan.tell(f"{one.id} adds {_told(children)}")
    flat = plan(clan.engine.registry, queue, one.id, children, tuple(one.fields.get("line", "").splitlines()))
    arguments: list[Any] = [await clan.worker(queue), one.place, one.entry, one.id, *flat]
    new = await clan.engine.run(scripts.ADD_CHILDREN, clan.queues[queue].root, *arguments)
    if new < 0:
        return
    wanted = len({child.key for child in children} - set(clan.member(name).children))
    if new != wanted:
        raise Mismatch(f"{new} children of {one.id} are new, not {wanted}")
    _adopt(clan, name, children)
    if rng.random() < 0.7:
        clan.tell(f"{one.id} waits")
        await clan.finish(queue, one)


async def finish(clan: Clan, rng: Random) -> None:
    """A running job completes, or waits for its children."""
    if found := _running(clan, rng):
        clan.tell(f"{found[1].id} ends, or waits")
        await clan.finish(*found)


async def wait(clan: Clan, rng: Random) -> None:
    """A handler asks how its children are; before it waits for them, more is carried."""
    found = _running(clan, rng)
    if found is None:
        return
    queue, one = found
    kin = await clan.read_ends((queue, one.id))
    setbacks = setbacks_of(kin)
    clan.tell(f"{one.id} knows {setbacks} failures")
    await carry(clan, rng)
    clan.tell(f"{one.id} waits")
    await clan.wait(queue, one, setbacks)


async def fail(clan: Clan, rng: Random) -> None:
    """A running job ends badly, for good."""
    found = _running(clan, rng)
    if found is None:
        return
    queue, one = found
    state = rng.choice(["failed", "failed", "cancelled"])
    clan.tell(f"{one.id} ends {state}")
    kind = f"{state} {one.fields['unique']}" if "unique" in one.fields else state
    if rng.random() < 0.2:
        kind = f"-{kind}"
    if await clan.settle(queue, one, kind, clan.record(one, state, clan.next_number())):
        clan.ended((queue, one.id), End(state))


async def again(clan: Clan, rng: Random) -> None:
    """A running job goes back: retried, or released."""
    found = _running(clan, rng)
    if found is None:
        return
    queue, one = found
    kind, body = rng.choice([("released", '{"set":{}}'), ("delayed", '{"delay":2000,"set":{"attempt":"1"}}')])
    clan.tell(f"{one.id} is {kind}")
    if await clan.settle(queue, one, kind, body):
        clan.allowed[queue, one.id] += 1
        await clan.discover()


async def revive(clan: Clan, rng: Random) -> None:
    """An operator runs one again that has ended; of its family nothing is left."""
    over = sorted(name for name, member in clan.members.items() if member.over)
    if not over:
        return
    name = rng.choice(over)
    clan.tell(f"retry {name}")
    try:
        await clan.queues[name[0]].operations.retry(name[1])
    except (JobNotFound, WrongState):
        return
    member = clan.members[name] = Member(name, stored=True)
    clan.allowed[name] += 1
    clan.felled.pop(member.name, None)
    clan.may_go.discard(name)
    if name in clan.told_late:
        clan.may_go.add(name)


# -- ending by hand ---------------------------------------------------------------------------------------------------


async def _by_hand(clan: Clan, rng: Random, verb: str) -> None:
    known = sorted(name for name, member in clan.members.items() if member.stored and not member.over)
    if not known:
        return
    name, tree = rng.choice(known), rng.choice(TREES)
    clan.tell(f"{verb} {name}, tree {tree}")
    queue, member = clan.queues[name[0]], clan.member(name)
    running = await _running_below(clan, member)
    family = bool(member.children)
    try:
        if verb == "cancel":
            what = await queue.cancel(name[1], tree=tree)
        else:
            await queue.operations.remove(name[1], force=True, tree=tree)
            what = None
    except WrongState:
        if tree != "take_idle" or not running:
            raise Mismatch(f"{verb} of {name} was refused, but {running or 'none'} of its tree runs") from None
        return
    if tree == "take_idle" and running:
        raise Mismatch(f"{verb} of {name} was not refused, although {running} runs")
    if tree != "leave" and family:
        member.tree = verb
    if verb == "cancel" and what is JobState.ACTIVE:
        clan.may_go.add(name)
        return
    clan.ended(name, End("cancelled" if verb == "cancel" else "removed"))


async def _running_below(clan: Clan, member: Member) -> Name | None:
    for kin in await clan.read_ends(member.name):
        if kin.end is None:
            child = (kin.queue, kin.id)
            if await clan.state(child) == "active":
                return child
            if below := await _running_below(clan, clan.member(child)):
                return below
    return None


async def cancel(clan: Clan, rng: Random) -> None:
    """A job is cancelled, with or without its tree."""
    await _by_hand(clan, rng, "cancel")


async def remove(clan: Clan, rng: Random) -> None:
    """A job is removed, with or without its tree."""
    await _by_hand(clan, rng, "remove")


# -- carrying and dying -----------------------------------------------------------------------------------------------


@contextmanager
def _struck(clan: Clan, step: Script, how: str) -> Iterator[None]:
    """The first call of that script strikes its process: before it, after it, or so that Redis hears of it later."""
    whole = clan.engine.run

    async def run(script: Script, root: str, *arguments: Any) -> Any:
        if script is not step:
            return await whole(script, root, *arguments)
        if how in ("after", "answer lost"):
            await whole(script, root, *arguments)
        elif how == "late":
            clan.late.append((clan.now, script, root, arguments))
        raise EngineUnavailable(script.name) if how == "answer lost" else Killed(script.name)

    clan.engine.run = run  # type: ignore[method-assign]
    try:
        yield
    except (Killed, EngineUnavailable):
        pass
    finally:
        clan.engine.run = whole  # type: ignore[method-assign]


async def carry(clan: Clan, rng: Random) -> None:
    """A courier goes, and mostly arrives."""
    queue = rng.choice(QUEUES)
    if rng.random() < 0.5:
        clan.tell(f"the courier of {queue} goes")
        await clan.queues[queue].courier.run(mend=rng.random() < 0.3)
    else:
        step, how = rng.choice([*STEPS, *ENDS]), rng.choice(["before", "after", "answer lost", "late"])
        clan.tell(f"the courier of {queue} is struck {how} at {step.name}")
        with _struck(clan, step, how):
            await clan.queues[queue].courier.run(mend=rng.random() < 0.3)
    await clan.discover()


async def arrive_late(clan: Clan, rng: Random) -> None:
    """What a process that stood still asked for long ago reaches Redis now."""
    clan.late = [one for one in clan.late if one[0] > clan.now - 60_000]
    if not clan.late:
        return
    _, script, root, arguments = clan.late.pop(rng.randrange(len(clan.late)))
    clan.tell(f"{script.name} on {root} comes late")
    await clan.engine.run(script, root, *arguments)
    await clan.discover()


async def die(clan: Clan, rng: Random) -> None:
    """A worker dies with all that it runs."""
    queue = rng.choice(QUEUES)
    clan.tell(f"the worker of {queue} dies")
    await clan.die(queue)


async def time_passes(clan: Clan, rng: Random) -> None:
    """Some seconds."""
    clan.now += rng.choice([1_000, 5_000])
    clan.tell(f"it is {clan.now}")
    clan.engine.time_override = clan.now


async def restart(clan: Clan, rng: Random) -> None:
    """The server is killed, and reads its append-only file; or its scripts are forgotten."""
    if rng.random() < 0.7:
        clan.tell("the scripts are forgotten")
        await clan.engine.redis.script_flush()
        return
    clan.tell("the server is killed and comes back")
    clan.server.kill()
    for client in (clan.client, clan.engine.redis):
        await client.connection_pool.disconnect()
    clan.server.start()


FAMILIES = Stage(
    {
        plain: 5,
        parent: 6,
        single: 6,
        claim: 18,
        grow: 9,
        finish: 14,
        wait: 5,
        fail: 6,
        again: 4,
        revive: 5,
        cancel: 3,
        remove: 3,
        carry: 22,
        arrive_late: 4,
        die: 2,
        time_passes: 3,
        restart: 1,
    },
    ("parent", "single"),
    Clan,
)
