"""Categorising a space: what gets a category, what is left alone, and what the counts say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from dhanam_jobs.engine import Engine, InvalidPayload, JobFailed, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.categorize_transactions import (
    JOB_NAME,
    Categorized,
    CategorizeTransactions,
    SpaceGone,
    categorize_space,
)
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.store.columns import utc_now

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store
    from tests.handlers.conftest import Household


async def _run(household: Household, ids: list[str] | None = None) -> tuple[int, int]:
    done = await categorize_space(household.store, "home", ids)
    return done.categorized, done.total


async def test_matching_rows_get_their_category_and_the_rest_stays(household: Household) -> None:
    """A second run finds only what the first left."""
    await household.rule("r1", "oxxo")
    await household.rule("r2", "pemex", "fuel")
    rows = ["A OXXO", "B PEMEX", "C UBER", "D OXXO"]
    ids = await household.insert(*(household.row(name, name) for name in rows))

    assert await _run(household) == (3, 4)
    assert [await household.category_of(i) for i in ids] == ["food", "fuel", None, "food"]
    assert await _run(household) == (0, 1)


async def test_more_rows_than_a_page_are_all_seen(household: Household) -> None:
    """Pages lose none, while categorised rows leave the set that is paged through."""
    await household.rule("r", "oxxo")
    kinds = ("OXXO", "UBER", "OXXO")
    await household.insert(*(household.row(f"{i}", f"{i:05} {kinds[i % 3]}") for i in range(1301)))

    assert await _run(household) == (867, 1301)


async def test_the_higher_priority_wins_then_the_older_then_the_id(household: Household) -> None:
    """The order of domain.md 5.2, as the store gives it."""
    await household.rule("z-old", "oxxo", "fuel")
    await household.rule("a-new", "oxxo", "food")
    (first,) = await household.insert(household.row("1", "oxxo"))
    await _run(household)
    assert await household.category_of(first) == "fuel"

    await household.rule("a-new", "oxxo", "food", priority=1)
    (second,) = await household.insert(household.row("2", "oxxo"))
    await _run(household)
    assert await household.category_of(second) == "food"


async def test_disabled_bare_and_alien_rules_hide_nothing(household: Household) -> None:
    """A rule without a category once blocked the rules below it."""
    await household.rule("off", "oxxo", "fuel", priority=9, enabled=False)
    await household.rule("bare", "oxxo", None, priority=8)
    await household.rule("alien", "oxxo", "alien", priority=7)
    await household.rule("good", "oxxo", "food")
    (transaction,) = await household.insert(household.row("1", "oxxo"))

    assert await _run(household) == (1, 1)
    assert await household.category_of(transaction) == "food"


async def test_a_choice_made_while_the_job_runs_stands(household: Household, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reading of a page and its update a person chooses: the person wins and the count says so."""
    await household.rule("r", "oxxo", "food")
    chosen, other = await household.insert(household.row("1", "a oxxo"), household.row("2", "b oxxo"))
    transactions = household.store.transactions
    write = transactions.set_categories

    async def after_a_person(categories: dict[str, list[str]]) -> int:
        assert await write({"fuel": [chosen]}) == 1
        return await write(categories)

    monkeypatch.setattr(transactions, "set_categories", after_a_person)

    assert await _run(household) == (1, 2)
    assert await household.category_of(chosen) == "fuel"
    assert await household.category_of(other) == "food"


async def test_runs_at_once_count_each_row_once(household: Household) -> None:
    """Four runs of one space share the rows between them, without deadlock."""
    await household.rule("r1", "oxxo")
    await household.rule("r2", "pemex", "fuel")
    names = [f"{i:04} {'OXXO' if i % 2 else 'PEMEX'}" for i in range(1200)]
    await household.insert(*(household.row(name, name) for name in names))

    counts = await asyncio.gather(*(_run(household) for _ in range(4)))

    assert sum(categorized for categorized, _ in counts) == 1200
    assert await _run(household) == (0, 0)


async def test_deleted_rows_and_other_spaces_are_left_alone(household: Household) -> None:
    """Neither counted nor changed."""
    await household.rule("r", "oxxo")
    _, gone = await household.insert(household.row("1", "a oxxo"), household.row("2", "b oxxo"))
    (foreign,) = await household.insert(household.row("1", "oxxo"), account_id="foreign")
    await household.store.transactions.upsert([{"id": gone, "deleted_at": utc_now()}])

    assert await _run(household) == (1, 1)
    assert await household.category_of(foreign, "other") is None
    await household.store.transactions.upsert([{"id": gone, "deleted_at": None}])
    assert await household.category_of(gone) is None


async def test_given_ids_are_the_only_ones_looked_at(household: Household) -> None:
    """Those of other spaces and unknown ones are ignored; a chosen category is counted but kept."""
    await household.rule("r", "oxxo")
    one, two, three = await household.insert(*(household.row(k, f"{k} oxxo") for k in "abc"))
    (foreign,) = await household.insert(household.row("1", "oxxo"), account_id="foreign")
    await household.store.transactions.set_categories({"fuel": [two]})

    assert await _run(household, [one, one, two, foreign, "nonsense"]) == (1, 2)
    assert [await household.category_of(i) for i in (one, two, three)] == ["food", "fuel", None]


async def test_no_ids_means_the_whole_space(household: Household) -> None:
    """An empty list is what the original took for all."""
    await household.rule("r", "oxxo")
    await household.insert(household.row("1", "oxxo"))

    assert await _run(household, []) == (1, 1)


async def test_an_owner_who_declined_is_left_alone_unless_rows_are_named(household: Household) -> None:
    """A viewer's preference changes nothing, the owner's stops whole-space runs."""
    await household.rule("r", "oxxo")
    preferences = household.store.users.upsert_preferences
    one, _ = await household.insert(household.row("1", "a oxxo"), household.row("2", "b oxxo"))

    await preferences([{"user_id": "ana", "auto_categorize_txns": False}])
    assert await _run(household) == (0, 2)
    assert await _run(household, [one]) == (1, 1)

    await preferences([{"user_id": "ana", "auto_categorize_txns": True}])
    await preferences([{"user_id": "luis", "auto_categorize_txns": False}])
    assert await _run(household) == (1, 1)


async def test_a_space_that_is_gone_is_named(household: Household) -> None:
    """Deleted and never there are different stories, and neither is worth a retry."""
    await household.store.spaces.upsert([{"id": "home", "deleted_at": utc_now()}])

    with pytest.raises(SpaceGone, match="space 'home' was deleted"):
        await _run(household)
    with pytest.raises(SpaceGone, match="space 'nowhere' does not exist"):
        await categorize_space(household.store, "nowhere")


def test_the_payload_is_camel_case_and_refuses_strangers() -> None:
    """As the specification writes it, and nothing else."""
    decode = msgspec.json.Decoder(CategorizeTransactions).decode

    assert decode(b'{"spaceId":"s","transactionIds":["a"]}') == CategorizeTransactions("s", ["a"])
    with pytest.raises(msgspec.ValidationError, match="unknown field `space_id`"):
        decode(b'{"space_id":"s"}')
    assert msgspec.json.encode(Categorized(45, 120, 7)) == b'{"categorized":45,"total":120,"durationMs":7}'


def test_an_envelope_is_opened_and_a_wrong_one_refused() -> None:
    """`{type, payload}` of this job is opened; another job's is an error; anything else passes."""
    opened = envelope_of("categorize-transactions")

    assert opened({"type": "categorize-transactions", "payload": {"spaceId": "s"}}) == {"spaceId": "s"}
    assert opened({"spaceId": "s"}) == {"spaceId": "s"}
    assert opened({"type": "x", "payload": {}, "more": 1}) == {"type": "x", "payload": {}, "more": 1}
    assert opened(None) is None
    with pytest.raises(InvalidPayload, match="found type 'esg-update', wanted 'categorize-transactions'"):
        opened({"type": "esg-update", "payload": {}})


class _Resources:
    def __init__(self, store: Store) -> None:
        self.store = store


async def test_the_job_runs_through_the_engine(household: Household, redis_url: str, redis: Redis) -> None:
    """Enqueued with or without the envelope, run by a worker, and its result read back by the producer."""
    await household.rule("r", "oxxo")
    one, _ = await household.insert(household.row("1", "a oxxo"), household.row("2", "b oxxo"))

    async with Engine.connect(redis_url, registry=build_registry()) as engine:
        queue = engine.queue("categorize-transactions")
        payload = {"spaceId": "home", "transactionIds": [one]}
        named = await queue.enqueue(JOB_NAME, {"type": JOB_NAME, "payload": payload})
        async with Worker(queue, resources=_Resources(household.store)):
            first = await named.result(timeout=20)
            whole = await (await engine.enqueue(CategorizeTransactions("home"))).result(timeout=20)

    assert (first["categorized"], first["total"]) == (1, 1)
    assert (whole["categorized"], whole["total"]) == (1, 1)
    assert set(whole) == {"categorized", "total", "durationMs"}


async def test_a_space_that_is_gone_fails_the_job_at_once(household: Household, redis_url: str, redis: Redis) -> None:
    """No retry would bring it back, and the reason is on the job."""
    async with Engine.connect(redis_url, registry=build_registry()) as engine:
        queue = engine.queue("categorize-transactions")
        job = await queue.enqueue(CategorizeTransactions("nowhere"))
        async with Worker(queue, resources=_Resources(household.store)):
            with pytest.raises(JobFailed, match="space 'nowhere' does not exist"):
                await job.result(timeout=20)
        info = await queue.get(job.id)

    assert info is not None
    assert info.attempt == 1
