"""A small shop: an order is confirmed by mail, a reminder follows a day later, and a report goes out each morning."""

from __future__ import annotations

from typing import Protocol

import msgspec

from dhanam_jobs.engine import JobContext, Registry, RetryPolicy, Schedule

registry = Registry()
REPORT = Schedule(name="morning-report", job="report", cron="0 7 * * *", tz="Europe/Madrid")


class Mailer(Protocol):
    """What sends mail; handed to every handler as `ctx.resources`."""

    async def send(self, to: str, text: str) -> None: ...


class Confirm(msgspec.Struct):
    """Confirm an order."""

    order: int
    to: str


class Remind(msgspec.Struct):
    """Ask whether the order arrived."""

    order: int
    to: str


@registry.job("confirm", queue="mail", retry=RetryPolicy(attempts=3, base=30))
async def confirm(ctx: JobContext, payload: Confirm) -> str:
    """Confirms, and sees to the reminder."""
    await ctx.resources.send(payload.to, f"order {payload.order} is on its way")
    ctx.log(f"told {payload.to}")
    await ctx.enqueue(Remind(payload.order, payload.to), delay=86_400, id=f"remind-{payload.order}")
    return "confirmed"


@registry.job("remind", queue="mail")
async def remind(ctx: JobContext, payload: Remind) -> None:
    """Asks."""
    await ctx.resources.send(payload.to, f"did order {payload.order} arrive?")


@registry.job("report", queue="reports")
async def report(ctx: JobContext, payload: dict[str, str]) -> None:
    """Tells the boss."""
    await ctx.resources.send("boss@shop.example", "all is well")
