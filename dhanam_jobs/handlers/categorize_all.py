"""The job `categorize-all`: categorises many spaces, one child job each, and sums what they did.

What a child does is categorize_transactions.py's.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Child, JobContext, Registry
from dhanam_jobs.handlers.categorize_transactions import Categorized, CategorizeTransactions
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store

JOB_NAME: Final = "categorize-all"


class CategorizeAll(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which spaces; None means all live ones but the demo's, an empty list none."""

    space_ids: list[str] | None = None


class AllCategorized(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The sums over the spaces that went well, and how many spaces there were in all.

    `errors` counts the spaces that failed; `failures` says which and why.
    """

    categorized: int
    total: int
    spaces: int
    errors: int
    failures: list[str]
    duration_ms: int


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time for all spaces, and for each choice of spaces."""
    registry.job(JOB_NAME, queue="categorize-transactions", unique=_key, accept=envelope_of(JOB_NAME))(categorize_all)


def _key(payload: CategorizeAll) -> str:
    if payload.space_ids is None:
        return "all"
    chosen = msgspec.json.encode(sorted(set(payload.space_ids)))
    return f"all:{hashlib.sha256(chosen).hexdigest()}"


async def categorize_all(ctx: JobContext, payload: CategorizeAll) -> AllCategorized:
    """Run the job; a space that fails is counted and leaves the others alone."""
    resources: Resources = ctx.resources
    # Asked for by name or not at all: the demo's spaces are some newcomer's to play with.
    space_ids = payload.space_ids
    if space_ids is None:
        space_ids = await resources.store.spaces.live_ids(with_demo=False)
    space_ids = list(dict.fromkeys(space_ids))
    options = {"priority": ctx.job.priority}
    await ctx.add_children(
        Child(each, CategorizeTransactions(each), on_failure="ignore", options=options) for each in space_ids
    )
    ended = await ctx.wait_children()
    done = [each.result_as(Categorized) for each in ended if each.completed]
    failures = [f"space {each.key}: {each.reason}" for each in ended if not each.completed]
    return AllCategorized(
        categorized=sum(each.categorized for each in done),
        total=sum(each.total for each in done),
        spaces=len(space_ids),
        errors=len(failures),
        failures=failures,
        duration_ms=max(0, round(time.time() * 1000) - ctx.job.created_ms),
    )
