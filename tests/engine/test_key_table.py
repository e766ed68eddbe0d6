"""Proves that ARCHITECTURE.md's table of keys names every key that the scripts write, with its type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, JobContext, Registry, Schedule, Supervisor, scripts
from dhanam_jobs.engine.scripts import Script
from tests.engine.conftest import Keys

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"
#: What scripts build of a word and something known only then.
BUILT = {
    *("trash:delayed", "trash:parked", "trash:ended", "trash:notes"),
    *("waiting:<0–9>", "front:<0–9>", "admitted:<0–9>", "metrics:minute:<name>", "metrics:hour:<name>"),
}


def table() -> dict[str, str]:
    """Key pattern and type, for each key of the table."""
    text = PAGE.read_text("utf-8").partition("## The keys of a queue")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.MULTILINE)
    return {key: kind for keys, kind in rows for key in re.findall(r"`([^`]+)`", keys)}


def words_of(pattern: str) -> str:
    """What a key's name begins with, up to what differs."""
    return pattern.partition("<")[0]


def test_every_key_that_a_script_names_is_in_the_table() -> None:
    """And the table names none that no script does."""
    texts = "\n".join(script.text for script in vars(scripts).values() if isinstance(script, Script))
    named = set(re.findall(r"root \.\. '([a-z_]+:?)'", texts))
    # Some are handed on as words, beside a command or in a list.
    words = set(re.findall(r"'(?:[A-Z]+ )?([a-z_]+:?)'", texts))
    written = {words_of(pattern) for pattern in table()}
    built = {words_of(key) for key in BUILT}
    assert named - written - {f"{key.partition(':')[0]}:" for key in built} == set()
    assert written - words - built == set()


@pytest.mark.parametrize("key", sorted(BUILT))
def test_what_is_built_of_words_is_in_the_table(key: str) -> None:
    """By its whole pattern."""
    assert key in table()


async def test_every_key_of_a_busy_queue_is_of_the_type_that_the_table_says(
    engine: Engine, registry: Registry, keys: Keys, redis: redis_async.Redis
) -> None:
    """While jobs of all states are there."""
    registry.queue("q", concurrency=2)

    @registry.job("work", queue="q")
    async def work(ctx: JobContext, payload: Any) -> None:
        ctx.log("here")
        await ctx.progress(1)

    queue = engine.queue("q")
    async with Supervisor(engine, schedules=[Schedule(name="rare", job="work", cron="0 0 1 1 *")], owner="app"):
        done = await queue.enqueue("work", 1, owner="ana")
        await done.result(timeout=10)
        await queue.pause()
        await queue.enqueue("work", 1, delay=60)
        await queue.enqueue("work", 1, unique="k", id="a")
        await queue.enqueue("work", 2, unique="k", id="b")
        patterns = {
            re.compile(re.sub(r"<[^>]*>", ".+", re.escape(key).replace(r"\<", "<").replace(r"\>", ">")) + r"\Z"): kind
            for key, kind in table().items()
        }
        found = 0
        for name in await keys.names(f"{queue.root}:*"):
            suffix = name[len(queue.root) + 1 :]
            kinds = [kind for pattern, kind in patterns.items() if pattern.match(suffix)]
            assert kinds, f"{name} is not in the table"
            kind = (await keys.command("TYPE", name)).decode()
            assert any(said.startswith({"zset": "sorted set"}.get(kind, kind)) for said in kinds), f"{name} is a {kind}"
            found += 1
        assert found > 12
    await queue.operations.obliterate()
