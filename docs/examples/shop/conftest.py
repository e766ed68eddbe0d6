"""Brings the plugin, an engine by a clock in the test's hand, and a mailer that keeps what it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from shop import registry

from dhanam_jobs.engine import Engine
from dhanam_jobs.engine.testing import ManualClock

if TYPE_CHECKING:  # pytest imports the plugin itself, to rewrite its assertions
    from dhanam_jobs.engine.pytest_plugin import ConnectEngine

pytest_plugins = ["dhanam_jobs.engine.pytest_plugin"]


class Outbox:
    """Keeps mail; fails as often as `broken` says."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.broken = 0

    async def send(self, to: str, text: str) -> None:
        """As the shop's mailer."""
        if self.broken:
            self.broken -= 1
            raise ConnectionError("the mail server is away")
        self.sent.append((to, text))


@pytest.fixture
def outbox() -> Outbox:
    """An empty outbox."""
    return Outbox()


@pytest.fixture
def clock() -> ManualClock:
    """Six in the morning of the first of June, in UTC."""
    return ManualClock(datetime(2026, 6, 1, 6, 0, tzinfo=UTC))


@pytest_asyncio.fixture
async def engine(jobs_engine: ConnectEngine, clock: ManualClock) -> AsyncIterator[Engine]:
    """The shop's engine on a real server that holds nothing else."""
    async with jobs_engine(registry, clock=clock) as engine:
        yield engine
