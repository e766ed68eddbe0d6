"""Judges what a worker was given: by the levels, the lines of keys, their turns and their limits; then it is noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.model.field import Claim, Field
    from tests.model.parts import Job


def judge(field: Field, worker: str, want: int, fair: int, claims: list[Claim], late: list[Job]) -> None:
    """Fails where a worker that wanted so many jobs, `fair` of them the oldest, should have been given others. `late`
    were found to have expired."""
    book = field.book
    turns = book.turns
    room, _ = turns.room_of_queue(want, book.count("active"), book.now) if want else (0, None)
    if late and not room:
        field.expect("what expired although there was no room", [job.id for job in late], [])
    found = [(one.place, one.id) for one in claims]
    if not turns.lines and not (fair and late):
        oldest = _oldest(field, min(fair, room))
        field.expect("what was claimed", found, book.claim(room, oldest))
    elif fair:
        _by_order(field, room, claims)
    else:
        _by_levels(field, room, claims)
    _note(field, worker, claims)


def _is_late(job: Job, now: int) -> bool:
    begun = any(name in job.fields for name in ("attempt", "stalls", "snoozes"))
    return "expires" in job.fields and int(job.fields["expires"]) <= now and not begun


def _oldest(field: Field, count: int) -> list[str]:
    """The jobs that the share for the starving goes to, by the age of their entries."""
    book, chosen = field.book, []
    waiting = {place: book.waiting_in(place) for place in book.places()}
    if len(waiting) < 2:
        return []
    for _ in range(count):
        heads = [(field.entry_ms(ids[0]), number, place) for number, (place, ids) in enumerate(waiting.items()) if ids]
        if not heads:
            break
        chosen.append(waiting[min(heads)[2]].pop(0))
    return chosen


def _rooms(field: Field) -> dict[str, int]:
    """How many jobs each key may start, by its limits and the length of its line."""
    turns, running = field.book.turns, field.book.running()
    return {
        key: min(len(line), turns.room_of(key, running.get(key, 0), field.book.now)[0])
        for key, line in turns.lines.items()
    }


def _by_order(field: Field, room: int, claims: list[Claim]) -> None:
    """The share of the oldest aside: as many as may be, and each key's and place's in order."""
    book, rooms = field.book, _rooms(field)
    waiting = {place: book.waiting_in(place) for place in book.places()}
    able = sum(map(len, waiting.values())) + sum(rooms.values())
    field.expect("how many were claimed", len(claims), min(room, able))
    _prefixes(field, claims, rooms, lambda place: waiting.get(place, []))


def _by_levels(field: Field, room: int, claims: list[Claim]) -> None:
    """The most urgent level first; within one what came back, then jobs with keys and jobs without by halves."""
    book, rooms = field.book, _rooms(field)
    levels = [int(one.place[-1]) for one in claims]
    field.expect("the levels of what was claimed", levels, sorted(levels))
    left = room
    ahead = {key: [code // 2 for code, _, _ in line[: rooms[key]]] for key, line in book.turns.lines.items()}
    for level in range(10):
        front, back = book.waiting_in(f"front:{level}"), book.waiting_in(f"waiting:{level}")
        able = 0
        for line in ahead.values():
            while line and line[0] == level:
                able += 1
                line.pop(0)
        given = [one for one in claims if int(one.place[-1]) == level]
        keyed = sum("key" in one.fields for one in given)
        field.expect(f"jobs of level {level}", len(given), min(left, len(front) + len(back) + able))
        left -= len(given)
        shared = max(0, len(given) - len(front))
        unkeyed = len(given) - keyed
        field.expect(f"jobs without a key of level {level}", _plain(given), [*front, *back][:unkeyed])
        least = max(shared - len(back), min(shared // 2, able))
        most = min(able, max((shared + 1) // 2, shared - len(back)))
        if not least <= keyed <= most:
            field.expect(f"jobs with a key of level {level}", keyed, f"{least} to {most}")
    _prefixes(field, claims, rooms, lambda place: [])


def _plain(claims: list[Claim]) -> list[str]:
    return [one.id for one in claims if "key" not in one.fields]


def _prefixes(field: Field, claims: list[Claim], rooms: dict[str, int], waiting: Callable[[str], list[str]]) -> None:
    """Each key's jobs are the first of its line, no more than it may start; and those of a place its first."""
    for key, line in field.book.turns.lines.items():
        given = [one.id for one in claims if one.fields.get("key") == key]
        field.expect(f"jobs of key {key}", given, [job_id for _, _, job_id in line][: len(given)])
        if len(given) > rooms[key]:
            field.expect(f"how many jobs of key {key} may start", len(given), rooms[key])
    for place in {one.place for one in claims if "key" not in one.fields}:
        given = [one.id for one in claims if one.place == place]
        if known := waiting(place):
            field.expect(f"jobs of {place}", given, known[: len(given)])


def _note(field: Field, worker: str, claims: list[Claim]) -> None:
    book, turns = field.book, field.book.turns
    turns.observe(book.running(), book.now)  # what was settled in the same call may have begun a rest
    for one in claims:
        job = book.jobs[one.id]
        field.expect(f"whether {one.id} was too late", _is_late(job, book.now), False)
        if job.key:
            code = job.level * 2 + (not job.front)
            field.expect(f"who waits since before {job.key} had its last turn", turns.passed_over(job.key, code), None)
        book.start(worker, one.id)
        field.expect(f"the place of {one.id}", one.place, job.place)
        if job.key:
            turns.begin(job.key, book.running()[job.key], book.now)
        turns.begin("", 0, book.now)
    started = [key for one in claims for key in ("", book.jobs[one.id].key)]
    broken = turns.broken(book.now, book.count("active"), book.running(), started)
    field.expect("a broken limit", broken, None)
