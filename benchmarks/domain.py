"""Measures what the handlers do to many rows: how fast they categorise, import and value, in how much memory, and how
right what is learned is.

Run as `python -m benchmarks.domain learned`; or as `… categorize`, `… import`, `… snapshots` with the address of an
empty database.
"""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.household import Line, statement

ROWS: Final = 100_000
RULES: Final = 200
ACCOUNTS: Final = 10_000
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
        done, figures = await _timed(lambda: categorize_space(store, "space"), rows)
    return {
        "database": database_url.partition(":")[0],
        "rows": done.total,
        "rules": rules,
        "categorized": done.categorized,
        **figures,
    }


async def _timed(run: Callable[[], Awaitable[Any]], rows: int) -> tuple[Any, dict[str, Any]]:
    """The run's result, and its figures; memory is the process's highest, this run and what went before included."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    result = await run()
    seconds = time.monotonic() - started
    return result, {
        "seconds": round(seconds, 2),
        "rows per second": round(rows / seconds),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak MB before the run": round(before / 1024),
    }


@main.command("import")
@click.argument("database_url")
@click.option("--rows", default=ROWS, show_default=True)
def import_(database_url: str, rows: int) -> None:
    """Import a bank statement of ROWS rows, then the same file again; the database must be empty."""
    click.echo(json.dumps(asyncio.run(_import(database_url, rows)), indent=2))


async def _import(database_url: str, rows: int) -> dict[str, Any]:
    from dhanam_jobs.handlers.statements import import_statement
    from dhanam_jobs.handlers.store import Store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statement.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Fecha", "Descripción", "Importe"])
            for number, (line, _) in enumerate(statement(1, rows)):
                writer.writerow([line.day.isoformat(), f"{line.description} {number}", line.amount])
        async with await Store.open(database_url) as store:
            async with store.transaction() as tx:
                await tx.spaces.upsert([{"id": "space", "name": "Casa"}])
                await tx.accounts.upsert([{"id": "account", "space_id": "space", "name": "Débito", "type": "checking"}])

            def run() -> Awaitable[Any]:
                return import_statement(store, path, space_id="space", account_id="account")

            first, new = await _timed(run, rows)
            second, known = await _timed(run, rows)
        size = path.stat().st_size
    assert (first.inserted, second.known) == (rows, rows), (first.errors[:3], second.errors[:3])
    about = {"database": database_url.partition(":")[0], "rows": rows, "file MB": round(size / 1e6, 1)}
    return {**about, "all new": new, "all known": known}


@main.command()
@click.argument("database_url")
@click.option("--accounts", default=ACCOUNTS, show_default=True)
def snapshots(database_url: str, accounts: int) -> None:
    """Value a space of so many ACCOUNTS in four currencies, twice on one day; the database must be empty."""
    click.echo(json.dumps(asyncio.run(_snapshots(database_url, accounts)), indent=2))


async def _snapshots(database_url: str, accounts: int) -> dict[str, Any]:
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.valuations import take_snapshot

    chance, today = random.Random(1), dt.date(2026, 11, 1)
    rows = [
        {
            "id": f"account-{number:05}",
            "space_id": "space",
            "name": f"Cuenta {number}",
            "type": chance.choice(["checking", "savings", "investment", "credit"]),
            "currency": chance.choice(["MXN", "MXN", "USD", "EUR", "CAD"]),
            "balance": Decimal(chance.randint(-(10**7), 10**9)) / 100,
        }
        for number in range(accounts)
    ]
    async with await Store.open(database_url) as store:
        async with store.transaction() as tx:
            await tx.spaces.upsert([{"id": "space", "name": "Casa"}])
            await tx.accounts.upsert(rows)
        rates = {"MXN": Decimal("18.4"), "EUR": Decimal("0.86"), "CAD": Decimal("1.4")}
        await store.exchange_rates.write("USD", today, rates, "made up", demo=False)
        space = await store.spaces.get("space")
        assert space is not None
        first, new = await _timed(lambda: take_snapshot(store, space, today, today), accounts)
        second, known = await _timed(lambda: take_snapshot(store, space, today, today), accounts)
    assert (first.created, second.updated, first.failures) == (accounts, accounts, [])
    return {
        "database": database_url.partition(":")[0],
        "accounts": accounts,
        "the first of the day": new,
        "a second one": known,
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
