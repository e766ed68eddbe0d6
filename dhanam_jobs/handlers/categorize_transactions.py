"""The job `categorize-transactions`: gives a space's uncategorised transactions the category of the first rule.

The rules' meaning is rules/, the rows are store/. Only rows without a category are touched, and each update checks
that again, so a person's choice stands even when it is made while the job runs. Pages are committed one by one: a
retry goes on where the attempt before it stopped, and its result counts what was left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from dhanam_jobs.engine import Discard, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.rules import RuleSet
    from dhanam_jobs.handlers.store import Candidate, Store

JOB_NAME = "categorize-transactions"
_PAGE_ROWS = 500


class CategorizeTransactions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which space; with `transactionIds`, only those of its transactions (an empty list means all, as none does)."""

    space_id: str
    transaction_ids: list[str] | None = None


class Categorized(msgspec.Struct, rename="camel", frozen=True):
    """How many transactions got a category, out of how many looked at, in how many ms.

    `total` counts the transactions without a category; in a run over given ids, all of them that the space has.
    """

    categorized: int
    total: int
    duration_ms: int


class SpaceGone(Exception):
    """The space isn't there or was deleted: no later attempt will find it."""


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time per space."""
    registry.job(
        JOB_NAME,
        queue="categorize-transactions",
        unique=lambda payload: str(payload.space_id),
        accept=envelope_of(JOB_NAME),
    )(categorize_transactions)


async def categorize_transactions(ctx: JobContext, payload: CategorizeTransactions) -> Categorized:
    """Run the job; a space that is gone fails it for good."""
    resources: Resources = ctx.resources
    try:
        return await categorize_space(resources.store, payload.space_id, payload.transaction_ids)
    except SpaceGone as error:
        raise Discard(str(error)) from None


async def categorize_space(store: Store, space_id: str, ids: Sequence[str] | None = None) -> Categorized:
    """Categorise the space's transactions, or those of `ids` that are the space's (others are ignored).

    Where an owner has switched `auto_categorize_txns` off, a run over the whole space counts and changes nothing:
    the preference speaks of what happens unasked, to the whole of the owner's books. Somebody who names transactions
    has asked for just these. Members' own preferences don't count, because the books aren't theirs alone.

    Raises SpaceGone.
    """
    started = time.monotonic()
    space = await store.spaces.get(space_id)
    if space is None or space.deleted:
        raise SpaceGone(f"space {space_id!r} {'was deleted' if space else 'does not exist'}")
    if ids:
        categorized, total = await _categorize_ids(store, space_id, ids)
    elif await store.spaces.owner_declined_categorization(space_id):
        categorized, total = 0, await store.transactions.count_uncategorized(space_id)
    else:
        categorized, total = await _categorize_all(store, space_id)
    return Categorized(categorized, total, round((time.monotonic() - started) * 1000))


async def _categorize_all(store: Store, space_id: str) -> tuple[int, int]:
    rules = await _rules(store, space_id)
    categorized = total = 0
    async for page in store.transactions.uncategorized_pages(space_id, size=_PAGE_ROWS):
        total += len(page)
        categorized += await _apply(store, rules, page)
    return categorized, total


async def _categorize_ids(store: Store, space_id: str, ids: Sequence[str]) -> tuple[int, int]:
    rules = await _rules(store, space_id)
    found = await store.transactions.by_ids(space_id, ids)
    free = [candidate for candidate in found if candidate.category_id is None]
    categorized = 0
    for start in range(0, len(free), _PAGE_ROWS):
        categorized += await _apply(store, rules, free[start : start + _PAGE_ROWS])
    return categorized, len(found)


async def _rules(store: Store, space_id: str) -> RuleSet:
    # RE2 takes a moment to load, and only workers need it.
    from dhanam_jobs.handlers.rules import compile_rules

    return compile_rules(await store.rules.of_space(space_id))


async def _apply(store: Store, rules: RuleSet, page: Sequence[Candidate]) -> int:
    # In a thread: a page of hard patterns takes long enough for the loop's other jobs to notice.
    chosen = await asyncio.to_thread(_choose, rules, page)
    return await store.transactions.set_categories(chosen) if chosen else 0


def _choose(rules: RuleSet, page: Sequence[Candidate]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for candidate in page:
        rule = rules.match(candidate)
        if rule is not None:
            chosen.setdefault(rule.category_id, []).append(candidate.id)
    return chosen
