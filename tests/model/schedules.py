"""What schedules do: ticks by several processes, also late ones, runs by hand, changes, pauses."""

from __future__ import annotations

from random import Random

from dhanam_jobs.engine import Schedule, scripts
from dhanam_jobs.engine.schedule import Overlap, definition
from tests.model.field import LEVELS, NAMES, PAYLOADS, TENANTS, Field, Verb
from tests.model.parts import Job, Plan, digest_of

HOUR_MS = 3_600_000
PLANS = ("s1", "s2")


async def upsert(field: Field, rng: Random) -> None:
    """A schedule is made, or left as it is where there is one."""
    book = field.book
    name = rng.choice(PLANS)
    if name in book.plans:
        return
    unique = rng.choice(["", "", "k1"])
    overlaps: list[Overlap] = ["allow", "skip", "queue_one"]
    overlap = rng.choice(overlaps)
    level, job, payload = rng.choice(LEVELS), rng.choice(NAMES), rng.choice(PAYLOADS)
    key = ["key", rng.choice(TENANTS)] if rng.random() < field.keyed else []
    schedule = Schedule(name=name, job=job, cron="0 * * * *", overlap=overlap)
    row = definition(schedule, payload=payload.encode(), priority=level, unique=unique, fields=key)
    next_ms = book.now + rng.choice([1_000, 60_000])
    field.tell(f"schedule {name}: {job} {payload}, overlap {overlap}, unique {unique!r}")
    flat = [text for pair in row.items() for text in pair]
    reply = await field.run(scripts.SCHEDULE_UPSERT, name, "operator", book.now, next_ms, *flat)
    field.expect("the schedule", reply[0], b"created")
    book.sequence()
    fields = {"name": job, "payload": payload, **({"key": key[1]} if key else {})}
    book.plans[name] = Plan(next_ms, fields, level, unique, overlap)


async def _revision(field: Field, name: str) -> str:
    found = await field.client.hget(f"{field.queue.root}:schedule:{name}", "revision")
    return found.decode() if isinstance(found, bytes) else "0"


async def tick(field: Field, rng: Random) -> None:
    """Two processes tick one schedule for the same instants: the second finds its knowledge old."""
    book = field.book
    name = rng.choice(PLANS)
    plan = book.plans.get(name)
    if plan is None or plan.next_ms is None:
        return
    count = rng.randint(1, 2)
    instants = [plan.next_ms + number for number in range(count)]
    following = plan.next_ms + rng.choice([1_000, 60_000])
    pairs = [part for instant in instants for part in (instant, f"{name}-{instant}")]
    call = (name, await _revision(field, name), plan.next_ms, following, count, *pairs)
    field.tell(f"tick {name} for {instants}")
    first = [word.decode() for word in (await field.run(scripts.TICK, *call))[0]]
    second = [word.decode() for word in (await field.run(scripts.TICK, *call))[0]]
    if plan.paused or plan.next_ms > book.now:
        wanted = ["paused" if plan.paused else "early"]
        field.expect("the ticks", (first, second), (wanted, wanted))
        return
    outcomes = ["ticked"]
    for instant in instants:
        what, job_id = _start(field, name, plan, f"{name}-{instant}", by_hand=False, instant=instant)
        outcomes.append(what)
        if what == "skipped":
            plan.skipped += 1
        else:
            plan.count += 1
            plan.last_id = job_id
    plan.next_ms = following
    field.expect("the ticks", (first, second), (outcomes, ["stale"]))


def _start(field: Field, name: str, plan: Plan, job_id: str, *, by_hand: bool, instant: int) -> tuple[str, str]:
    book = field.book
    if book.state_of(job_id):
        return "existed", job_id
    key = plan.unique or (f"schedule:{name}" if plan.overlap != "allow" else "")
    digest = digest_of(plan.fields["name"], plan.fields["payload"])
    if key in book.unique:
        if plan.overlap == "skip" and not by_hand:
            return "skipped", job_id
        joins = bool(plan.unique) and (by_hand or plan.overlap == "allow")
        line = [*([book.unique[key]] if joins else []), *book.held.get(key, [])]
        for other, holder in line:
            if other == digest:
                if joins:
                    book.runs.setdefault(holder, name)
                    return "joined", holder
                if not by_hand:
                    return "skipped", job_id
    if plan.last_id and (plan.last_id not in book.jobs or book.jobs[plan.last_id].home):
        book.runs.pop(plan.last_id, None)
    fields = dict(plan.fields)
    if key:
        fields["unique"] = key
    fields["meta"] = f'{{"schedule":"{name}","scheduled_ms":{instant}}}'
    job = Job(job_id, plan.level, fields, created=book.now)
    book.runs[job_id] = name
    book.counters["added"] += 1
    if key in book.unique:
        book.put_blocked(job, None)
        return "blocked", job_id
    book.put_waiting(job)
    if key:
        book.unique[key] = (job.digest, job_id)
    return "waiting", job_id


async def run_by_hand(field: Field, rng: Random) -> None:
    """An operator starts a run now."""
    book = field.book
    name = rng.choice(PLANS)
    field.tell(f"run {name} by hand")
    reply = await field.run(scripts.SCHEDULE_RUN, name)
    plan = book.plans.get(name)
    if plan is None:
        field.expect("a run of no schedule", reply, [])
        return
    book.sequence()
    given = f"{name}-run" if reply[2] == b"joined" else reply[0].decode()
    what, job_id = _start(field, name, plan, given, by_hand=True, instant=book.now)
    plan.last_id = job_id
    wanted = [job_id.encode(), plan.fields["name"].encode(), what.encode()]
    field.expect("the run", reply, wanted)


async def change(field: Field, rng: Random) -> None:
    """A schedule is paused, resumed, or removed."""
    book = field.book
    name = rng.choice(PLANS)
    plan = book.plans.get(name)
    what = rng.choice(["pause", "resume", "resume", "remove"])
    field.tell(f"{what} {name}")
    if what == "remove":
        reply = await field.run(scripts.SCHEDULE_REMOVE, name, "")
        field.expect("the removal of a schedule", reply, int(plan is not None))
        book.plans.pop(name, None)
        return
    script = scripts.SCHEDULE_PAUSE if what == "pause" else scripts.SCHEDULE_RESUME
    reply = await field.run(script, name)
    if plan is None:
        field.expect(f"the {what} of no schedule", reply, -1)
        return
    field.expect(f"the {what} of a schedule", reply, int(plan.paused == (what == "resume")))
    plan.paused = what == "pause"


VERBS: dict[Verb, int] = {upsert: 3, tick: 5, run_by_hand: 2, change: 1}
