"""Measures what the handlers do to many rows: categorisation's speed and memory, and how right what is learned is.

Run as `python -m benchmarks.domain learned` or `python -m benchmarks.domain categorize DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import click

from benchmarks.household import Line, statement

ROWS: Final = 100_000
RULES: Final = 200
HELD_OUT: Final = 0.25
"""The last quarter of each history is guessed from the quarters before."""


@click.group()
def main() -> None:
    """Measure the handlers."""


@main.command()
@click.option("--households", default=20, show_default=True)
@click.option("--lines", default=1200, show_default=True, help="Lines of each, over eighteen months.")
@click.option("--wrong", default=0.02, show_default=True, help="Share of lines that people noted wrongly.")
def learned(households: int, lines: int, wrong: float) -> None:
    """Precision and coverage of the learned part, on the held-out last months of made-up households."""
    results = [_held_out(seed, lines, wrong) for seed in range(households)]
    right, said, asked = (sum(column) for column in zip(*results, strict=True))
    worst = min(result[0] / result[1] for result in results)
    report = {
        "households": households,
        "lines": lines,
        "noted wrongly": wrong,
        "asked": asked,
        "answered": said,
        "coverage": round(said / asked, 4),
        "precision": round(right / said, 4),
        "precision of the worst household": round(worst, 4),
    }
    click.echo(json.dumps(report, indent=2))


def _held_out(seed: int, lines: int, wrong: float) -> tuple[int, int, int]:
    from dhanam_jobs.handlers.learning import learn
    from dhanam_jobs.handlers.store.corrections import Example

    history = list(statement(seed, lines, wrong=wrong))
    split = round(lines * (1 - HELD_OUT))
    model = learn(Example(line.description, line.merchant, line.amount, noted) for line, noted in history[:split])
    right = said = 0
    for line, _ in history[split:]:
        found = model.predict(line)
        said += found is not None
        right += found is not None and found.category_id == line.truth
    return right, said, lines - split


@main.command()
@click.argument("database_url")
@click.option("--rows", default=ROWS, show_default=True)
@click.option("--rules", default=RULES, show_default=True)
def categorize(database_url: str, rows: int, rules: int) -> None:
    """Categorise ROWS transactions by RULES rules, and learn from a history of 5,000; the database must be empty."""
    click.echo(json.dumps(asyncio.run(_categorize(database_url, rows, rules)), indent=2))


async def _categorize(database_url: str, rows: int, rules: int) -> dict[str, Any]:
    from dhanam_jobs.handlers.categorize_transactions import categorize_space
    from dhanam_jobs.handlers.store import NewTransaction, Store

    async with await Store.open(database_url) as store:
        await _furnish(store, rules)
        for start in range(0, rows, 20_000):
            made = statement(start, min(20_000, rows - start))
            await store.transactions.insert_new(
                "account", [_row(NewTransaction, f"{start}-{n}", line) for n, (line, _) in enumerate(made)]
            )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        done = await categorize_space(store, "space")
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "database": database_url.partition(":")[0],
        "rows": done.total,
        "rules": rules,
        "categorized": done.categorized,
        "seconds": round(seconds, 2),
        "rows per second": round(done.total / seconds),
        "peak MB": round(after / 1024),
        "peak MB before the run": round(before / 1024),
    }


def _row(kind: Any, key: str, line: Line) -> Any:
    return kind(
        provider_transaction_id=key,
        amount=line.amount,
        currency="MXN",
        date=line.day,
        description=line.description,
        merchant=line.merchant,
    )


async def _furnish(store: Any, rules: int) -> None:
    from dhanam_jobs.handlers.store import NewTransaction

    known = sorted({line.truth for line, _ in statement(1, 5000)})
    async with store.transaction() as tx:
        await tx.spaces.upsert([{"id": "space", "name": "Casa"}])
        await tx.accounts.upsert([{"id": "account", "space_id": "space", "name": "Débito", "type": "checking"}])
        await tx.budgets.upsert([{"id": "budget", "space_id": "space", "name": "Gastos"}])
        await tx.budgets.upsert_categories([{"id": each, "budget_id": "budget", "name": each} for each in known])
        await tx.rules.upsert(list(_rules(rules)))
    past = list(statement(99, 5000))
    await store.transactions.insert_new(
        "account", [_row(NewTransaction, f"h{n}", line) for n, (line, _) in enumerate(past)]
    )
    ids = [each async for page in store.transactions.uncategorized_pages("space") for each in page]
    noted = {(line.description, line.amount): category for line, category in past}
    chosen: dict[str, list[str]] = {}
    for each in ids:
        chosen.setdefault(noted[each.description, Decimal(each.amount)], []).append(each.id)
    await store.transactions.set_categories(chosen)


def _rules(count: int) -> Iterable[dict[str, Any]]:
    """A few rules that match much, and many that match little, as people's do."""
    wanted = [
        ("oxxo", "tienda"),
        ("uber ?eats", "domicilio"),
        ("pemex|gasolinera", "gasolina"),
        ("soriana", "despensa"),
    ]
    for n in range(count):
        word, category = wanted[n] if n < len(wanted) else (f"shop{n}|tienda {n}$|sucursal {n * 7919 % 9973}$", "hogar")
        operator = "contains" if n % 3 == 1 and n >= len(wanted) else "regex"
        yield {
            "id": f"rule-{n:03}",
            "space_id": "space",
            "name": f"rule {n}",
            "conditions": [{"field": "description", "operator": operator, "value": word}],
            "category_id": category,
            "priority": count - n,
        }


if __name__ == "__main__":
    sys.exit(main())
