"""What operators do to jobs: cancel, remove, retry, promote, edit, reprioritise; unpark, free a key, pause."""

from __future__ import annotations

from random import Random

from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.reviving import Source, revive
from tests.model.field import KEYS, LEVELS, NAMES, PAYLOADS, Field, Verb
from tests.model.parts import ENDED, Ended, Job

STATES = ("waiting", "active", "delayed", "blocked", "parked", *ENDED)
RESTING = ("waiting", "delayed", "blocked", "parked")
#: What a revived job takes along of its entry.
TAKEN_ALONG = ("name", "payload", "unique", "key", "errors", "meta")


async def cancel(field: Field, rng: Random) -> None:
    """Some jobs, whatever their states."""
    book = field.book
    ids = field.some_ids(rng, *RESTING, "active", "active")
    field.tell(f"cancel {ids}")
    reply = await field.run(scripts.CANCEL, book.keep["cancelled"], "enough", *ids)
    verdicts: list[str] = []
    ended: list[Ended] = []
    for job_id in ids:
        job, state = book.jobs.get(job_id), book.state_of(job_id)
        if any(one.id == job_id for one in ended):
            verdicts.append("cancelled")
        elif job is None:
            verdicts.append(state or "missing")
        elif state == "active" and job.holder in book.workers:
            verdicts.append("asked")
            book.cancelling.setdefault(job_id, "enough")
            book.workers[job.holder].messages += 1
        else:
            attempt = int(job.fields.get("attempt", 0)) + (state == "active")
            book.take_out(job)
            ended.append(book.ended(job, "cancelled", attempt))
            verdicts.append("cancelled")
    book.finish("cancelled", ended)
    book.free_all((one.fields.get("unique"), one.id) for one in ended)
    field.expect("the cancellation", [verdict.decode() for verdict in reply], verdicts)


async def remove(field: Field, rng: Random) -> None:
    """Some jobs or records, where they are in one of some states."""
    book = field.book
    states = [state for state in STATES if rng.random() < 0.7]
    ids = field.some_ids(rng, *RESTING, "active", *ENDED)
    field.tell(f"remove {ids} where {states}")
    reply = await field.run(scripts.REMOVE, f" {' '.join(states)} ", *ids)
    verdicts = []
    for job_id in ids:
        job, state = book.jobs.get(job_id), book.state_of(job_id)
        if state is None or state not in states:
            verdicts.append(state or "missing")
            continue
        verdicts.append("removed")
        if job is None:
            book.forget_ended(job_id)
            continue
        if job.holder in book.workers:
            book.workers[job.holder].messages += 1
        book.remove_live(job)
    field.expect("the removal", [verdict.decode() for verdict in reply], verdicts)


async def retry(field: Field, rng: Random) -> None:
    """Jobs that have ended run once more: by their record, by one that is out of date, or from the dead letters."""
    book, seen = field.book, field.seen
    source: Source = "dead" if book.dead and rng.random() < 0.4 else "ended"
    texts = seen.buried if source == "dead" else {**seen.results, **seen.records}
    if not texts:
        return
    ids = [rng.choice(sorted(texts)) for _ in range(rng.randint(1, 3))]
    changed = rng.random() < 0.1
    records = [texts[job_id] + b" " if changed else texts[job_id] for job_id in ids]
    field.tell(f"retry {ids} from {source}{', as they were once' if changed else ''}")
    reply = await revive(field.queue, source, records)
    verdicts: list[str] = []
    revived: list[Ended] = []
    for job_id in ids:
        state = book.state_of(job_id)
        same = (
            state in ENDED
            and job_id not in book.jobs
            and (source == "ended" or {**seen.results, **seen.records}.get(job_id) == texts[job_id])
        )
        if state and not same:
            verdicts.append(state)
        elif any(one.id == job_id for one in revived):
            verdicts.append("missing")
        elif changed:
            verdicts.append("changed")
        else:
            kept = book.dead[job_id] if source == "dead" else book.records.get(job_id) or book.results[job_id]
            revived.append(kept)
            verdicts.append("revived")
    for one in revived:
        book.dead.pop(one.id, None)
        record = book.records.pop(one.id, None)
        if record:
            book.lists[record.state].remove(one.id)
        book.results.pop(one.id, None)
        fields = {name: one.fields[name] for name in TAKEN_ALONG if name in one.fields}
        job = Job(one.id, one.level, fields)
        book.counters["revived"] += 1
        book.comes_back(job)
        key = fields.get("unique")
        if key and key in book.unique:
            book.put_blocked(job, None)
            verdicts[_position(ids, one.id, verdicts)] = "held"
        else:
            book.put_waiting(job)
            if key:
                book.unique[key] = (job.digest, job.id)
    field.expect("the retry", reply, verdicts)


def _position(ids: list[str], job_id: str, verdicts: list[str]) -> int:
    return next(i for i, other in enumerate(ids) if other == job_id and verdicts[i] == "revived")


async def promote_now(field: Field, rng: Random) -> None:
    """Delayed jobs go before all others of their level: those named, or those due next."""
    book = field.book
    if rng.random() < 0.3:
        count = rng.randint(1, 3)
        field.tell(f"promote the next {count}")
        chosen = [job_id for _, _, job_id in book.delayed[:count]]
        field.expect("the promotion", await field.run(scripts.PROMOTE_NOW, count), len(chosen))
    else:
        ids = field.some_ids(rng, "delayed")
        field.tell(f"promote {ids}")
        reply = await field.run(scripts.PROMOTE_NOW, 0, *ids)
        chosen, verdicts = [], []
        for job_id in ids:
            state = "waiting" if job_id in chosen else book.state_of(job_id)
            if state == "delayed":
                chosen.append(job_id)
            verdicts.append("promoted" if state == "delayed" else state or "missing")
        field.expect("the promotion", [verdict.decode() for verdict in reply], verdicts)
    for job_id in chosen:
        job = book.jobs[job_id]
        book.take_out(job)
        book.put_waiting(job, "front")


async def edit(field: Field, rng: Random) -> None:
    """Another payload for a job that isn't running."""
    book = field.book
    (job_id,) = field.some_ids(rng, *RESTING, most=1)
    name, payload = rng.choice(NAMES), rng.choice([*PAYLOADS, "7"])
    field.tell(f"edit {job_id} as {name}: {payload}")
    reply = (await field.run(scripts.EDIT, job_id, name, payload)).decode()
    job, state = book.jobs.get(job_id), book.state_of(job_id)
    if job is None or state == "active":
        field.expect("the edit", reply, state or "missing")
        return
    if job.fields["name"] != name:
        field.expect("the edit", reply, "changed")
        return
    field.expect("the edit", reply, "edited")
    job.fields["payload"] = payload
    if state == "waiting" and not job.key:
        kind = job.place.partition(":")[0]
        book.take_out(job)
        book.put_waiting(job, kind)
    key = job.fields.get("unique")
    if key:
        if book.unique.get(key, ("", ""))[1] == job_id:
            book.unique[key] = (job.digest, job_id)
        if key in book.held:
            book.held[key] = [(job.digest if one == job_id else old, one) for old, one in book.held[key]]


async def reprioritise(field: Field, rng: Random) -> None:
    """Another level for jobs that aren't running."""
    book = field.book
    level = rng.choice(LEVELS)
    ids = field.some_ids(rng, *RESTING)
    field.tell(f"reprioritise {ids} to {level}")
    reply = await field.run(scripts.REPRIORITISE, level, *ids)
    verdicts = []
    for job_id in ids:
        job, state = book.jobs.get(job_id), book.state_of(job_id)
        if job is None or state == "active":
            verdicts.append(state or "missing")
        elif job.level == level:
            verdicts.append("same")
        else:
            verdicts.append("moved")
            if state == "waiting":
                book.take_out(job)
                job.level = level
                book.put_waiting(job, "front" if job.front else "waiting")
            job.level = level
    field.expect("the new levels", [verdict.decode() for verdict in reply], verdicts)


async def free_key(field: Field, rng: Random) -> None:
    """A unique key is freed, whoever holds it."""
    book = field.book
    key = rng.choice(KEYS)
    field.tell(f"free key {key}")
    reply = (await field.run(scripts.FREE_KEY, key)).decode()
    throttled = book.throttled.pop(key, (0, ""))[1]
    if key not in book.unique:
        field.expect("who held the key", reply, throttled)
        return
    holder = book.unique[key][1]
    field.expect("who held the key", reply, holder)
    book.freed_by_hand.add(key)
    book.free_unique(key, holder)


async def unpark(field: Field, rng: Random) -> None:
    """Somebody knows some of the names again."""
    book = field.book
    names = rng.choice([[NAMES[0]], [NAMES[1]], [NAMES[1], NAMES[0]]])
    limit = rng.choice([1, 200])
    field.tell(f"unpark {names}, at most {limit}")
    chosen = [job_id for name in names for known, _, job_id in book.parked if known == name][:limit]
    field.expect("how many were unparked", await field.run(scripts.UNPARK, limit, *names), len(chosen))
    for job_id in chosen:
        job = book.jobs[job_id]
        book.take_out(job)
        book.put_waiting(job)


async def pause(field: Field, rng: Random) -> None:
    field.tell("pause")
    field.expect("the pause", await field.run(scripts.PAUSE), int(not field.book.paused))
    field.book.paused = True


async def resume(field: Field, rng: Random) -> None:
    field.tell("resume")
    field.expect("the end of the pause", await field.run(scripts.RESUME), int(field.book.paused))
    field.book.paused = False


VERBS: dict[Verb, int] = {
    cancel: 5,
    remove: 4,
    retry: 5,
    promote_now: 3,
    edit: 3,
    reprioritise: 3,
    free_key: 1,
    unpark: 3,
    pause: 1,
    resume: 2,
}
