"""What workers do, also at the wrong moment: claim, settle, repeat, recover, call late, die, leave; and the sweep."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from dhanam_jobs.engine.scripts import BEAT, CLAIM, LEAVE, NOTE, RECOVER, REGISTER, SETTLE
from tests.model.admissions import judge
from tests.model.field import Claim, Field, Verb
from tests.model.parts import Ended, Job, Row

MOST_WORKERS = 4
KINDS = (
    *("completed", "completed", "failed", "failed", "cancelled"),
    *("delayed", "snoozed", "released", "parked", "limited"),
)


def _living(field: Field) -> list[str]:
    return sorted(set(field.book.workers) & set(field.hands))


async def register(field: Field, rng: Random) -> None:
    """A new worker comes; or a name is taken."""
    book = field.book
    if len(book.workers) >= MOST_WORKERS:
        name = rng.choice(sorted(book.workers))
        field.tell(f"register {name} again")
        field.expect("a taken name", await field.run(REGISTER, name, "{}"), 0)
        return
    name = field.new_worker()
    field.tell(f"register {name}")
    field.expect("a new name", await field.run(REGISTER, name, "{}"), 1)
    book.workers[name] = Row(book.now)


async def beat(field: Field, rng: Random) -> None:
    """Some of the workers beat, dead ones too."""
    for name in sorted(field.hands):
        if rng.random() < 0.6:
            living = name in field.book.workers
            field.tell(f"beat {name}")
            field.expect(f"the beat of {name}", await field.run(BEAT, name, "{}"), int(living))
            if living:
                field.book.workers[name].beat = field.book.now


def _any_hand(field: Field, rng: Random) -> str | None:
    """Mostly a living worker."""
    living = _living(field)
    if living and rng.random() < 0.93:
        return rng.choice(living)
    return rng.choice(sorted(field.hands)) if field.hands else None


def claims_of(reply: list[Any]) -> list[Claim]:
    claims = []
    for place, entries in zip(reply[4::2], reply[5::2], strict=True):
        for entry, flat in entries:
            fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
            job_id = fields.pop("id", f"{place.decode()[-1]}-{entry.decode()}")
            fields.pop("created", None)
            claims.append(Claim(place.decode(), entry.decode(), job_id, fields))
    return claims


def _quiet(field: Field) -> bool:
    """True where nothing is due, so that the entries of all that waits are known."""
    return not field.book.delayed or field.book.delayed[0][0] > field.book.now


async def claim(field: Field, rng: Random) -> None:
    """A worker asks for jobs."""
    name = _any_hand(field, rng)
    if name is None:
        return
    want = rng.choice([1, 2, 3, 5, 50])
    fair = rng.randint(0, 2) if _quiet(field) and rng.random() < 0.3 else 0
    await _trip(field, rng, name, [], want, fair)


async def settle(field: Field, rng: Random) -> None:
    """A worker settles some of its claims, and mostly asks for more."""
    holders = [name for name, hand in sorted(field.hands.items()) if hand.held]
    if not holders:
        return
    name = rng.choice(holders)
    held = field.hands[name].held
    chosen = [one for one in held if rng.random() < 0.7] or held[:1]
    outcomes = [_outcome(field, rng, one) for one in chosen]
    want = rng.choice([0, 1, 3, 5])
    plain = all(kind == "completed" for _, kind, _ in outcomes)
    fair = 1 if plain and want and _quiet(field) and rng.random() < 0.3 else 0
    await _trip(field, rng, name, outcomes, want, fair)


def _outcome(field: Field, rng: Random, claim: Claim) -> tuple[Claim, str, bytes]:
    kind = rng.choice(KINDS)
    if kind in ("completed", "failed", "cancelled"):
        body = field.record(claim, kind)
        if rng.random() < 0.1:
            kind = f"-{kind}"
        return claim, f"{kind} {claim.fields['unique']}" if "unique" in claim.fields else kind, body
    if kind == "delayed":
        number = int(claim.fields.get("attempt", 0)) + 1
        changes = {"attempt": str(number), "errors": f'[{{"attempt":{number}}}]'}
        return claim, kind, json.dumps({"delay": rng.choice([0, 5_000, 200_000]), "set": changes}).encode()
    if kind == "snoozed":
        number = int(claim.fields.get("snoozes", 0)) + 1
        return claim, "delayed", json.dumps({"delay": 1_000, "set": {"snoozes": str(number)}}).encode()
    if kind == "limited":
        scope = rng.choice(["key", "key", "queue"]) if "key" in claim.fields else "queue"
        rest = {"limit": rng.choice([20_000, 60_000]), "scope": scope, "set": {}}
        return claim, kind, json.dumps(rest).encode()
    return claim, kind, b'{"set":{}}'


async def _trip(
    field: Field, rng: Random, name: str, outcomes: list[tuple[Claim, str, bytes]], want: int, fair: int
) -> None:
    book, hand = field.book, field.hands[name]
    hand.call += 1
    keep = book.keep
    if outcomes:
        flat = [part for one, kind, body in outcomes for part in (one.place, one.entry, one.id, kind, body)]
        arguments: tuple[Any, ...] = (want, fair, keep["completed"], keep["failed"], keep["cancelled"], *flat)
        script = SETTLE
    else:
        script, arguments = CLAIM, (want, fair, keep["failed"])
    fate = rng.random()
    field.tell(
        f"{script.name} by {name}: want {want}, fair {fair}, {[(one.id, kind) for one, kind, _ in outcomes]}"
        + (", and the reply is lost" if fate < 0.08 else ", but it comes too late" if fate < 0.14 else "")
    )
    if 0.08 <= fate < 0.14 and name in book.workers:
        # Redis still runs a command whose client has given up, also after the client has asked what became of it.
        late = hand.call
        await _recover(field, name)
        reply = await field.run(script, name, late, *arguments)
        field.expect("a late call", (reply[0], reply[2].decode()), (b"stale", book.workers[name].verdicts))
        return
    if not outcomes and fate > 0.3 and name in book.workers:
        # Whoever comes because the bell rang has taken its token; what is left must ring for the next one.
        await field.client.zpopmin(f"{field.queue.root}:bell")
    reply = await field.run(script, name, hand.call, *arguments)
    hand.last = script, (hand.call, *arguments)
    if name not in book.workers:
        field.expect(f"the trip of {name}", reply[0], b"dead")
        hand.held.clear()
        return
    verdicts, paused = _play(field, outcomes)
    row = book.workers[name]
    row.call = row.settled = hand.call
    row.verdicts = verdicts
    if not outcomes and paused:
        field.expect("a claim from a paused queue", reply[0], b"paused")
    else:
        field.expect("the trip", (reply[0], reply[2].decode()), (b"ok", verdicts))
    if outcomes and paused:
        field.expect("what a paused queue says", reply[3], b"paused")
    expired = _expire(field, reply)
    claims = claims_of(reply) if len(reply) > 4 else []
    judge(field, name, 0 if paused else want, fair, claims, expired)
    for one in claims:
        field.expect(f"the fields of {one.id}", one.fields, book.jobs[one.id].fields)
    book.finish("failed", [book.ended(one, "failed", 0) for one in expired])
    book.free_all((one.fields.get("unique"), one.id) for one in expired)
    if fate < 0.08:
        await _recover(field, name)
        return
    settled = [one for one, _, _ in outcomes]
    hand.held = [one for one in hand.held if one not in settled] + claims


def _expire(field: Field, reply: list[Any]) -> list[Job]:
    """Takes the jobs out of the book that the trip met and that had to be started before now; had it met another one,
    or passed one by, the claims would be others."""
    if len(reply) < 6 or reply[-2] != b"late":
        return []
    book = field.book
    late = [book.jobs[job_id.decode()] for job_id in reply.pop()[::2]]
    reply.pop()
    for job in late:
        started = job.fields.keys() & {"attempt", "stalls", "snoozes", "waits"}
        told = (job.state, bool(started), int(job.fields.get("expires", book.now + 1)) <= book.now)
        field.expect(f"that {job.id} may expire", told, ("waiting", False, True))
        book.take_out(job)
        book.turns.ready.pop(job.key, None)  # that was its key's turn
    return late


def _play(field: Field, outcomes: list[tuple[Claim, str, bytes]]) -> tuple[str, bool]:
    """What the trip does to the book before it claims: verdicts, and whether the queue is paused."""
    book, verdicts = field.book, ""
    ends: dict[str, list[Ended]] = {"completed": [], "failed": [], "cancelled": []}
    unkept: dict[str, list[Ended]] = {"completed": [], "failed": [], "cancelled": []}
    freed: list[tuple[str | None, str]] = []
    for one, kind, body in outcomes:
        job = book.jobs.get(one.id)
        if job is None or job.holder == "" or field.seen.entries.get(one.id) != one.entry or job.place != one.place:
            verdicts += "0"
            continue
        verdicts += "1"
        book.take_out(job)
        state, _, key = kind.partition(" ")
        attempt = int(job.fields.get("attempt", 0)) + 1
        if state.lstrip("-") in ends:
            (unkept if state[0] == "-" else ends)[state.lstrip("-")].append(book.ended(job, state.lstrip("-"), attempt))
            if key:
                freed.append((key, job.id))
            continue
        change = json.loads(body)
        job.fields.update(change["set"])
        if job.id in book.cancelling:
            attempt = int(change["set"].get("attempt", attempt))
            ends["cancelled"].append(book.ended(job, "cancelled", attempt))
            if "unique" in job.fields:
                freed.append((job.fields["unique"], job.id))
            continue
        book.comes_back(job)
        if state == "delayed":
            book.put_delayed(job, book.now + change["delay"])
        elif state in ("released", "limited"):
            if state == "limited":
                whom = job.key if change["scope"] == "key" else None
                book.turns.rest(whom, book.now + change["limit"], book.now)
            book.put_waiting(job, "front")
        else:
            book.put_parked(job)
    for state, ended in ends.items():
        book.finish(state, ended)
    for state, ended in unkept.items():
        book.finish(state, ended, kept=False)
    book.free_all(freed)
    book.promote()
    return verdicts, book.paused


async def _recover(field: Field, name: str) -> None:
    """A worker asks what became of its last call, and takes over what it holds."""
    hand = field.hands[name]
    hand.call += 1
    field.tell(f"recover by {name}")
    reply = await field.run(RECOVER, name, hand.call)
    if name not in field.book.workers:
        field.expect(f"the recovery of {name}", reply[0], b"dead")
        hand.held.clear()
        return
    row = field.book.workers[name]
    field.expect("what recover says", (reply[0], reply[2].decode(), reply[3]), (b"ok", row.verdicts, row.settled))
    row.call = hand.call
    claims = claims_of(reply)
    wanted = [
        (place, job_id)
        for place in field.book.places()
        for job_id in field.book.streams[place]
        if field.book.jobs[job_id].holder == name
    ]
    field.expect("what recover hands over", [(one.place, one.id) for one in claims], wanted)
    hand.held = claims


async def recover(field: Field, rng: Random) -> None:
    """A worker that heard an error asks."""
    name = _any_hand(field, rng)
    if name is not None:
        await _recover(field, name)


async def repeat(field: Field, rng: Random) -> None:
    """A call comes a second time, with its number."""
    called = [name for name, hand in sorted(field.hands.items()) if hand.last]
    if not called:
        return
    name = rng.choice(called)
    script, arguments = field.hands[name].last or (CLAIM, ())
    field.tell(f"{script.name} by {name} comes again")
    reply = await field.run(script, name, *arguments)
    if name not in field.book.workers:
        field.expect(f"a repetition by {name}", reply[0], b"dead")
        return
    wanted = (b"stale", field.book.workers[name].verdicts)
    field.expect(f"a repetition by {name}", (reply[0], reply[2].decode()), wanted)


async def leave(field: Field, rng: Random) -> None:
    """A worker leaves, whatever it holds."""
    name = _any_hand(field, rng)
    if name is None or rng.random() < 0.5:
        return
    field.tell(f"leave {name}")
    held = sum(job.holder == name for job in field.book.jobs.values())
    field.expect(f"what {name} holds", await field.run(LEAVE, name), held)
    field.book.workers.pop(name, None)


async def vanish(field: Field, rng: Random) -> None:
    """A worker's process is gone, and all that it knew."""
    if field.hands and rng.random() < 0.5:
        name = rng.choice(sorted(field.hands))
        field.tell(f"{name} is killed")
        del field.hands[name]


async def note(field: Field, rng: Random) -> None:
    """A running job tells of itself, or one whose claim was lost does."""
    book = field.book
    holders = [name for name, hand in sorted(field.hands.items()) if hand.held]
    if not holders:
        return
    name = rng.choice(holders)
    one = rng.choice(field.hands[name].held)
    progress = rng.choice(["", "1", "2"])
    lines = [f'"line {number}"' for number in range(rng.randint(0 if progress else 1, 3))]
    field.tell(f"note by {name} on {one.id}: {progress} {lines}")
    reply = await field.run(NOTE, name, one.place, one.entry, one.id, progress, 4, *lines)
    job = book.jobs.get(one.id)
    ours = job is not None and job.holder == name and field.seen.entries.get(one.id) == one.entry
    field.expect(f"the note on {one.id}", reply, int(ours and job is not None and job.place == one.place))
    if reply:
        book.notes[one.id] = progress or book.notes.get(one.id, "")
        book.logs[one.id] = [*book.logs.get(one.id, []), *lines][-4:]


VERBS: dict[Verb, int] = {
    register: 8,
    beat: 4,
    claim: 20,
    settle: 24,
    recover: 2,
    repeat: 2,
    leave: 1,
    vanish: 1,
    note: 3,
}
