"""The job `categorize-transactions`: gives uncategorised transactions what the first rule says, or the books teach.

The rules' meaning is rules/, learning is learning/, the rows are store/. Only rows without a category are touched, and
each update checks that again, so a person's choice stands even when it is made while the job runs. Pages are committed
one by one: a retry goes on where the attempt before it stopped, and its result counts what was left.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from dhanam_jobs.engine import Discard, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.learning import Model
    from dhanam_jobs.handlers.rules import Rule, RuleSet
    from dhanam_jobs.handlers.store import Candidate, Choice, Store

JOB_NAME = "categorize-transactions"
_PAGE_ROWS = 500
_HISTORY_ROWS = 5000


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
    has asked for just these, and gets what the rules say. Members' own preferences don't count, because the books
    aren't theirs alone.

    Raises SpaceGone.
    """
    started = time.monotonic()
    space = await store.spaces.get(space_id)
    if space is None or space.deleted:
        raise SpaceGone(f"space {space_id!r} {'was deleted' if space else 'does not exist'}")
    declined = await store.spaces.owner_declined_categorization(space_id)
    chooser = _Chooser(store, space_id, learning=not declined)
    if ids:
        categorized, total = await _categorize_ids(store, space_id, ids, chooser)
    elif declined:
        categorized, total = 0, await store.transactions.count_uncategorized(space_id)
    else:
        categorized, total = await _categorize_all(store, space_id, chooser)
    return Categorized(categorized, total, round((time.monotonic() - started) * 1000))


async def _categorize_all(store: Store, space_id: str, chooser: _Chooser) -> tuple[int, int]:
    categorized = total = 0
    async for page in store.transactions.uncategorized_pages(space_id, size=_PAGE_ROWS):
        total += len(page)
        categorized += await chooser.apply(page)
    return categorized, total


async def _categorize_ids(store: Store, space_id: str, ids: Sequence[str], chooser: _Chooser) -> tuple[int, int]:
    found = await store.transactions.by_ids(space_id, ids)
    free = [candidate for candidate in found if candidate.category_id is None]
    categorized = 0
    for start in range(0, len(free), _PAGE_ROWS):
        categorized += await chooser.apply(free[start : start + _PAGE_ROWS])
    return categorized, len(found)


class _Chooser:
    """Chooses categories for one run: rules first, then what was learned. Both are read when they are first needed,
    the books as they were before this run changed them."""

    def __init__(self, store: Store, space_id: str, *, learning: bool) -> None:
        self._store = store
        self._space_id = space_id
        self._learning = learning
        self._rules: RuleSet | None = None
        self._model: Model | None = None

    async def apply(self, page: Sequence[Candidate]) -> int:
        """Choose for a page and write it; gives how many took their category."""
        if self._rules is None:
            self._rules = await _rules(self._store, self._space_id)
            if self._learning:
                self._model = await _learn(self._store, self._space_id)
        # In a thread: a page of hard patterns takes long enough for the loop's other jobs to notice.
        chosen = await asyncio.to_thread(_choose, self._rules, self._model, page)
        choices: dict[str, Choice] = {}
        plain: dict[str, list[str]] = {}
        for each, choice in chosen.items():
            if choice.metadata or choice.tags or choice.merchant is not None:
                choices[each] = choice
            else:
                plain.setdefault(choice.category_id, []).append(each)
        changed = await self._store.transactions.set_categories(plain) if plain else 0
        return changed + (await self._store.transactions.choose(choices) if choices else 0)


async def _rules(store: Store, space_id: str) -> RuleSet:
    # RE2 takes a moment to load, and only workers need it.
    from dhanam_jobs.handlers.rules import compile_rules, parse_actions

    rows = await store.rules.of_space(space_id)
    by_action = {row.id: parse_actions(row.actions).category_id for row in rows if row.category_id is None}
    known = await store.budgets.categories_by_ids(each for each in by_action.values() if each is not None)
    rows = [
        msgspec.structs.replace(row, category_id=category.id, category_space_id=category.space_id)
        if (category := known.get(by_action.get(row.id) or "")) is not None
        else row
        for row in rows
    ]
    return compile_rules(rows)


async def _learn(store: Store, space_id: str) -> Model:
    from dhanam_jobs.handlers.learning import learn

    own = {category.id for category in await store.budgets.categories_of(space_id)}
    examples = await store.corrections.history(space_id, limit=_HISTORY_ROWS)
    corrections = await store.corrections.of_space(space_id)
    return await asyncio.to_thread(
        learn,
        [example for example in examples if example.category_id in own],
        [correction for correction in corrections if correction.category_id in own],
        now=dt.datetime.now(dt.UTC),
    )


def _choose(rules: RuleSet, model: Model | None, page: Sequence[Candidate]) -> dict[str, Choice]:
    from dhanam_jobs.handlers.store import Choice

    chosen: dict[str, Choice] = {}
    for candidate in page:
        rule = rules.match(candidate)
        if rule is not None:
            chosen[candidate.id] = _with_actions(rule)
        elif model is not None and (learned := model.predict(candidate)) is not None:
            marks = {"autoCategorized": True, "mlConfidence": learned.confidence, "mlReasoning": learned.reason}
            chosen[candidate.id] = Choice(category_id=learned.category_id, metadata=marks)
    return chosen


def _with_actions(rule: Rule) -> Choice:
    from dhanam_jobs.handlers.store import Choice

    actions = rule.actions
    if actions is None:
        return Choice(category_id=rule.category_id)
    recurring = {} if actions.recurring is None else {"recurringId": actions.recurring}
    return Choice(category_id=rule.category_id, metadata=recurring, tags=actions.tags, merchant=actions.merchant)
