"""What operators do to limits: set, change and end those of the queue, of all keys and of one; end a rest."""

from __future__ import annotations

from random import Random

from dhanam_jobs.engine.scripts import LIMIT
from tests.model.field import TENANTS, Field, Verb
from tests.model.turns import NONE, Limit

#: Periods are long: what Redis forgets at their end goes by its own clock, and must outlast the program.
LIMITS: tuple[Limit, ...] = (NONE, (1, 0, 0), (2, 0, 0), (3, 0, 0), (0, 1, 30_000), (0, 3, 60_000), (2, 4, 60_000))


async def limit(field: Field, rng: Random) -> None:
    """A limit of the queue, of each key or of one key is set, changed or ended."""
    turns = field.book.turns
    what = rng.choice(["queue", "keys", "keys", "key"])
    key = rng.choice(TENANTS) if what == "key" else ""
    wanted = rng.choice(LIMITS)
    field.tell(f"limit {what} {key} to {wanted}")
    name = f"key:{key}" if key else what
    cursor, before = await field.run(LIMIT, what, key, *wanted)
    field.expect("the limit before", before.decode(), " ".join(map(str, turns.limits.get(name, ()))))
    turns.set_limit(name, wanted)
    while cursor != b"0":
        cursor, _ = await field.run(LIMIT, "next", cursor, "", "", "")


async def end_rest(field: Field, rng: Random) -> None:
    """What a handler asked for is over before its time."""
    turns = field.book.turns
    key = rng.choice(["", *TENANTS])
    field.tell(f"end the rest of {key or 'the queue'}")
    await field.run(LIMIT, "key" if key else "queue", key, "", "", "")
    if key:
        turns.limited.pop(key, None)
    else:
        turns.limited_until = None


VERBS: dict[Verb, int] = {limit: 5, end_rest: 2}
