"""What sweeps do: declare workers dead, reclaim, promote what is due; begun, gone on with, or out of turn."""

from __future__ import annotations

from random import Random

from dhanam_jobs.engine.scripts import BEAT, SWEEP
from tests.model.field import Field, Verb
from tests.model.parts import Ended

INTERVAL_MS = 60_000
LEASE_MS = 100_000


async def sweep(field: Field, rng: Random) -> None:
    """One step: begun, gone on with, or out of turn; or at the start of our own server, when all others are dead."""
    await _sweep(field, rng, rng.choice(["begun", "on", "on", "out of turn"]))


async def lapse(field: Field, rng: Random) -> None:
    """A lease passes in which not all workers beat, and a sweep goes on."""
    field.tell(f"{LEASE_MS} ms pass")
    field.advance(LEASE_MS)
    for name in sorted(field.hands):
        if name in field.book.workers and rng.random() < 0.4:
            field.tell(f"beat {name}")
            field.expect(f"the beat of {name}", await field.run(BEAT, name, "{}"), 1)
            field.book.workers[name].beat = field.book.now
    await _sweep(field, rng, "on")


async def _sweep(field: Field, rng: Random, turn: str) -> None:
    book = field.book
    budget = rng.choice([1, 2, 200])
    sure = rng.random() < 0.1
    living = [name for name in sorted(book.workers) if rng.random() < 0.5] if sure else []
    key = f"{field.queue.root}:sweeping"
    if turn == "begun":
        await field.client.delete(key)
    elif turn == "out of turn":
        await field.client.set(key, book.now, px=600_000)
    field.tell(f"sweep {turn}, budget {budget}{f', all dead but {living}' if sure else ''}")
    keep = book.keep
    reply = await field.run(
        SWEEP,
        *(INTERVAL_MS, LEASE_MS, budget, book.max_stalls, keep["failed"], int(turn == "on"), int(sure)),
        *(keep["cancelled"], *living),
    )
    parked = book.count("parked")
    if turn == "out of turn":
        field.expect("a sweep out of turn", reply, [parked, 0])
        return
    if turn == "begun":
        if book.swept is None or book.now - book.swept > 2 * INTERVAL_MS:
            book.grace = book.now + LEASE_MS
        book.swept = book.now
    graced = bool(book.grace and book.now < book.grace and not sure)
    promoted = book.promote()
    if book.turns.limited_until is not None and book.turns.limited_until <= book.now:
        book.turns.limited_until = None
    book.waited = {job_id: until for job_id, until in book.waited.items() if until > book.now}
    dead: list[str] = []
    reclaimed, failed, more = 0, 0, False
    if not graced:
        if sure:
            dead = [name for name in book.workers if name not in living]
        else:
            dead = [name for name, row in book.workers.items() if row.beat <= book.now - LEASE_MS]
        for name in dead:
            del book.workers[name]
        reclaimed, failed, more = _reclaim(field, budget)
    field.expect("the sweep", reply, [parked, 0, reclaimed, failed, promoted, len(dead), int(more), int(graced), 0])


def _reclaim(field: Field, budget: int) -> tuple[int, int, bool]:
    """The claims of the dead: how many went back to the front, how many failed, and whether some are left."""
    book = field.book
    ends: dict[str, list[Ended]] = {"failed": [], "cancelled": []}
    freed: list[tuple[str | None, str]] = []
    back = 0
    left = False
    for place in book.places():
        held: dict[str, list[str]] = {}
        for job_id in book.streams[place]:
            holder = book.jobs[job_id].holder
            if holder and holder not in book.workers:
                held.setdefault(holder, []).append(job_id)
        for _, ids in sorted(held.items()):
            left = left or len(ids) > budget
            for job_id in ids[:budget]:
                budget -= 1
                job = book.jobs[job_id]
                book.take_out(job)
                stalls = int(job.fields.get("stalls", 0)) + 1
                job.fields["stalls"] = str(stalls)
                state = "cancelled" if job_id in book.cancelling else "failed" if stalls > book.max_stalls else ""
                if state:
                    ends[state].append(book.ended(job, state, int(job.fields.get("attempt", 0)) + 1))
                    freed.append((job.fields.get("unique"), job_id))
                else:
                    book.comes_back(job)
                    book.put_waiting(job, "front")
                    back += 1
    for state, ended in ends.items():
        book.finish(state, ended)
    book.free_all(freed)
    return back, len(ends["failed"]), left


VERBS: dict[Verb, int] = {sweep: 5, lapse: 6}
