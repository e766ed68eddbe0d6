"""What makes room: clearing a queue step by step, retention by age, the trash, and pruning of dead letters."""

from __future__ import annotations

from random import Random

from dhanam_jobs.engine import scripts
from tests.model.field import Field, Verb
from tests.model.parts import ENDED, Ended

#: Blocked jobs that one step of `clear` removes.
CLEAR_AT_ONCE = 2


async def clear(field: Field, rng: Random) -> None:
    """One step of clearing, sometimes followed by the tidying that belongs to it."""
    book = field.book
    force = rng.random() < 0.7
    field.tell(f"clear{' by force' if force else ''}")
    what, count = await field.run(scripts.CLEAR, int(force), CLEAR_AT_ONCE)
    active = book.of_state("active")
    if active and not force:
        field.expect("clearing", (what, count), (b"active", len(active)))
        return
    if book.trash:
        field.expect("clearing", (what, count), (b"trash", 0))
        await _tidy(field, rng)
        return
    line = sorted(item for line in book.turns.lines.values() for item in line)[:CLEAR_AT_ONCE]
    if line:
        for _, _, job_id in line:
            book.remove_live(book.jobs[job_id])
        field.expect("clearing", (what, count), (b"more", len(line)))
        return
    blocked = sorted(book.blocked, key=lambda job_id: (book.blocked[job_id], job_id.encode()))[:CLEAR_AT_ONCE]
    for job_id in blocked:
        job = book.jobs[job_id]
        book.take_out(job)
        del book.jobs[job_id]
        book.forget_notes(job_id)
        book.waited.pop(job_id, None)
        book.runs.pop(job_id, None)
    book.counters["removed"] += len(blocked)
    if book.blocked:
        field.expect("clearing", (what, count), (b"more", len(blocked)))
        return
    gone = len(book.jobs)
    field.expect("clearing", (what, count), (b"cleared", len(blocked) + gone + len(book.records) + len(book.dead)))
    for job_id in active:
        holder = book.jobs[job_id].holder
        if holder in book.workers:
            book.workers[holder].messages += 1
    book.trash = {
        "delayed": [job_id for _, _, job_id in book.delayed],
        "parked": [job_id for _, _, job_id in book.parked],
        "ended": list(book.records),
        "notes": list(book.notes),
    }
    book.trash = {name: ids for name, ids in book.trash.items() if ids}
    book.counters["removed"] += gone
    book.streams = {place: [] for place in book.streams}
    for kept in (book.jobs, book.unique, book.held, book.records, book.dead, book.waited):
        kept.clear()
    for noted in (book.cancelling, book.joined, book.notes, book.runs):
        noted.clear()
    book.delayed.clear()
    book.turns.limited_until = None
    book.parked.clear()
    book.lists = {state: [] for state in ENDED}
    if rng.random() < 0.7:
        await _tidy(field, rng)


async def tidy(field: Field, rng: Random) -> None:
    """Retention by age, and what clearing left."""
    await _tidy(field, rng)


async def _tidy(field: Field, rng: Random) -> None:
    book = field.book
    choices: list[int | str] = ["", "", 0, 100_000, 400_000]
    ages = [rng.choice(choices) for _ in range(4)]
    limit = rng.choice([2, 1000])
    field.tell(f"tidy by ages {ages}, {limit} at a time")
    taken = [0] * 5
    while True:
        more, *step = await field.run(scripts.TIDY, limit, *ages[:3], book.dead_wanted, ages[3])
        taken = [one + other for one, other in zip(taken, step, strict=True)]
        if not more:
            break
    wanted = [0] * 4
    book.dead_keep = book.dead_wanted
    for number, state in enumerate(ENDED):
        old = _older(ages[number], book.now, [book.records[job_id] for job_id in book.lists[state]])
        wanted[number] = old
        book.drop_oldest(state, old)
    over = max(0, len(book.dead) - book.dead_keep)
    book.drop_dead(over)
    old = _older(ages[3], book.now, list(book.dead.values()))
    book.drop_dead(old)
    wanted[3] = over + old
    if limit == 1000:
        field.expect("what was tidied", taken[:4], wanted)
    for job_id in book.trash.get("ended", ()):
        if job_id not in book.jobs and job_id not in book.records:
            book.results.pop(job_id, None)
    for job_id in book.trash.get("notes", ()):
        if job_id not in book.notes:
            book.logs.pop(job_id, None)
    book.trash.clear()


def _older(age: int | str, now: int, records: list[Ended]) -> int:
    """How many of these, oldest first, ended that long ago."""
    if age == "":
        return 0
    count = 0
    for record in records:
        if record.finished > now - int(age):
            break
        count += 1
    return count


async def prune(field: Field, rng: Random) -> None:
    """Some dead letters are deleted."""
    book = field.book
    ids = {rng.choice([*book.dead, "none"]) for _ in range(2)}
    field.tell(f"prune {sorted(ids)}")
    field.expect("what was pruned", await field.run(scripts.PRUNE, *sorted(ids)), len(ids & set(book.dead)))
    for job_id in ids:
        book.dead.pop(job_id, None)


VERBS: dict[Verb, int] = {clear: 1, tidy: 2, prune: 1}
