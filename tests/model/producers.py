"""What producers do: enqueue with every option, join, replace, wait for a result; and what limits them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from dhanam_jobs.engine.scripts import ENQUEUE, LIMIT_LENGTH, WAIT
from tests.model.book import Book
from tests.model.field import IDS, KEYS, LEVELS, NAMES, PAYLOADS, TENANTS, Field, Verb
from tests.model.parts import Job, digest_of

OWNERS = ("ana", "bo")


def _request(field: Field, rng: Random) -> tuple[int, dict[str, Any], str, str]:
    extra: dict[str, Any] = {}
    if rng.random() < 0.65:
        if rng.random() < 0.35:
            extra["id"] = rng.choice(IDS)
            if rng.random() < 0.4:
                extra["mode"] = "rerun_finished"
        if rng.random() < 0.55:
            extra["unique"] = rng.choice(KEYS)
            mode = rng.choice([None, None, "throttle", "debounce", "keep_last"])
            if mode:
                extra["unique_mode"] = mode
            if mode in ("throttle", "debounce"):
                extra["period"] = rng.choice([60_000, 300_000])
            if mode == "debounce" and rng.random() < 0.5:
                extra["max_wait"] = rng.choice([100_000, 400_000])
        if rng.random() < 0.3:
            extra["delay"] = rng.choice([1, 60_000, 300_000])
        elif rng.random() < 0.1:
            extra["due"] = field.book.now + rng.choice([-1000, 60_000])
        if rng.random() < 0.15:
            extra["expires"] = rng.choice([20_000, 600_000])
        if rng.random() < 0.2:
            extra["owner"] = rng.choice(OWNERS)
            extra["fields"] = ["meta", f'{{"owners":["{extra["owner"]}"]}}']
    if rng.random() < field.keyed:
        extra["fields"] = [*extra.get("fields", []), "key", rng.choice(TENANTS)]
    return rng.choice(LEVELS), extra, rng.choice(NAMES), rng.choice(PAYLOADS)


def _decide(field: Field, extra: dict[str, Any], name: str, payload: str) -> tuple[str, str]:
    """What becomes of one more job, and the id that it joins or replaces."""
    book = field.book
    job_id, key, mode = extra.get("id"), extra.get("unique"), extra.get("unique_mode")
    if job_id:
        if job_id in book.jobs:
            return "join", job_id
        if extra.get("mode") != "rerun_finished" and book.state_of(job_id):
            return "join", job_id
    if not key:
        return "new", ""
    if mode == "throttle":
        until, first = book.throttled.get(key, (0, ""))
        return ("join", first) if until > book.now else ("new", "")
    if key not in book.unique:
        return "new", ""
    digest = digest_of(name, payload)
    if mode is None:
        for other, holder in [book.unique[key], *book.held.get(key, [])]:
            if other == digest:
                return "join", holder
        return "held", ""
    line = book.line(key)
    last = book.jobs[line[-1] if line else book.unique[key][1]]
    if last.state == "active" or last.started:
        return "held", ""
    if mode == "keep_last" and last.state == "waiting":
        return ("join", last.id) if last.digest == digest else ("held", "")
    if last.state == "parked" or "unique_mode" not in last.fields:
        return "held", ""
    if last.state == "waiting" and "max_wait" in extra and book.now >= (last.created or 0) + extra["max_wait"]:
        return "held", ""
    return "replace", last.id


def _due(book: Book, extra: dict[str, Any], created: int) -> int | None:
    due = extra.get("due")
    if due is None and extra.get("delay"):
        due = book.now + extra["delay"]
    if extra.get("unique_mode") == "debounce":
        due = book.now + extra["period"]
        if "max_wait" in extra:
            due = min(due, created + extra["max_wait"])
    return due if due is not None and due > book.now else None


def _fields(book: Book, extra: dict[str, Any], name: str, payload: str, due: int | None) -> dict[str, str]:
    fields = {"name": name, "payload": payload}
    if "unique" in extra and extra.get("unique_mode") != "throttle":
        fields["unique"] = extra["unique"]
        if "unique_mode" in extra:
            fields["unique_mode"] = extra["unique_mode"]
    if "expires" in extra:
        fields["expires"] = str((due or book.now) + extra["expires"])
    given = extra.get("fields", [])
    return {**fields, **dict(zip(given[::2], given[1::2], strict=True))}


def _note_owner(book: Book, job_id: str, owner: str) -> None:
    owners = book.joined.get(job_id, [])
    if owner not in owners and (job_id in book.jobs or job_id in book.records):
        book.joined[job_id] = [*owners, owner]


def _replace(field: Field, old: Job, extra: dict[str, Any], level: int, name: str, payload: str) -> None:
    book = field.book
    key, state = extra["unique"], old.state
    created = old.created or book.now
    for owner in json.loads(old.fields.get("meta", "{}")).get("owners", []):
        _note_owner(book, old.id, owner)
    due = _due(book, extra, created)
    if state == "delayed" and extra["unique_mode"] == "keep_last":
        due = old.due
    fields = _fields(book, extra, name, payload, due)
    if state == "blocked":
        old.level, old.fields, old.due = level, fields, due
        book.held[key][-1] = (old.digest, old.id)
        return
    book.take_out(old)
    old.level, old.fields = level, fields
    book.put_delayed(old, due or book.now)
    book.unique[key] = (old.digest, old.id)


async def enqueue(field: Field, rng: Random) -> None:
    """A chunk of one to four jobs."""
    book = field.book
    chunk = [_request(field, rng) for _ in range(rng.randint(1, 4))]
    flat: list[Any] = []
    for level, extra, name, payload in chunk:
        flat += [level, json.dumps(extra) if extra else b"", name, payload]
    field.tell(f"enqueue {chunk}")
    wanted = sum(_decide(field, extra, name, payload)[0] in ("new", "held") for _, extra, name, payload in chunk)
    length = len(book.of_state("waiting", "delayed", "blocked", "parked"))
    reply = await field.run(ENQUEUE, *flat)
    if book.max_length is not None and wanted and length + wanted > book.max_length:
        field.expect("the full queue", reply, [b"full", length, book.max_length, wanted])
        return
    ids, existing = [one.decode() for one in reply[0]], set(reply[1])
    for position, (level, extra, name, payload) in enumerate(chunk, 1):
        what, known = _decide(field, extra, name, payload)
        given = ids[position - 1]
        field.expect(f"whether job {position} existed", position in existing, what in ("join", "replace"))
        if what == "replace":
            _replace(field, book.jobs[known], extra, level, name, payload)
        if what in ("join", "replace"):
            field.expect(f"the id of job {position}", given, known)
            if "owner" in extra:
                _note_owner(book, known, extra["owner"])
            continue
        if "id" in extra:
            field.expect(f"the id of job {position}", given, extra["id"])
            if extra.get("mode") == "rerun_finished":
                book.forget_ended(given)
        if given in book.jobs:
            field.expect(f"the id of job {position}", given, "a new one")
        _store(book, given, extra, level, name, payload, blocked=what == "held")


def _store(book: Book, job_id: str, extra: dict[str, Any], level: int, name: str, payload: str, blocked: bool) -> None:
    book.counters["added"] += 1
    book.claims.pop(job_id, None)
    book.returns.pop(job_id, None)
    due = _due(book, extra, book.now)
    job = Job(job_id, level, _fields(book, extra, name, payload, due), created=book.now)
    if blocked:
        book.put_blocked(job, due)
        return
    if due is not None:
        book.put_delayed(job, due)
    else:
        if "id" not in extra and not job.key:
            # Nothing notes when it was stored but its entry, which has the server's own time and gave it its id.
            job.created = int(job_id.split("-")[1])
        book.put_waiting(job, home="id" not in extra and not job.key)
    if extra.get("unique_mode") == "throttle":
        book.throttled[extra["unique"]] = (book.now + extra["period"], job_id)
    elif "unique" in extra:
        book.unique[extra["unique"]] = (job.digest, job_id)
        book.freed_by_hand.discard(extra["unique"]) if not _others(book, job) else None


def _others(book: Book, job: Job) -> bool:
    key = job.fields["unique"]
    return any(other.fields.get("unique") == key and other is not job for other in book.jobs.values())


async def limit_length(field: Field, rng: Random) -> None:
    """The queue is given a limit, or none."""
    limit = rng.choice([None, None, 3, 20])
    field.tell(f"limit_length {limit}")
    before = field.book.max_length
    reply = await field.run(LIMIT_LENGTH, "" if limit is None else limit)
    field.expect("the limit before", reply, b"" if before is None else b"%d" % before)
    field.book.max_length = limit


async def wait(field: Field, rng: Random) -> None:
    """Somebody waits for a job's result."""
    book = field.book
    (job_id,) = field.some_ids(rng, "waiting", "active", "delayed", "blocked", most=1)
    if rng.random() < 0.3:
        job_id = rng.choice(IDS)
    field.tell(f"wait for {job_id}")
    _, answer = await field.run(WAIT, 200_000, job_id)
    if job_id in book.jobs:
        field.expect(f"waiting for {job_id}", answer, 1)
        book.waited[job_id] = book.now + 200_000
        return
    found = answer if answer == 0 else json.loads(answer)["state"]
    field.expect(f"waiting for {job_id}", found, book.state_of(job_id) or 0)


VERBS: dict[Verb, int] = {enqueue: 30, limit_length: 1, wait: 6}
