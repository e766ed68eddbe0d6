"""Fixtures for users' own tests: a real server for the session, and engines on it, emptied before each test.

`pytest_plugins = ["dhanam_jobs.engine.pytest_plugin"]` in a conftest, or `-p dhanam_jobs.engine.pytest_plugin`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from redis import Redis

from .embedded import EmbeddedServer
from .engine import Engine
from .manual_clock import ManualClock
from .registry import Registry


class ConnectEngine(Protocol):
    """`async with jobs_engine(registry) as engine:` connects to the session's server; with `clock`, by that clock."""

    def __call__(self, registry: Registry, *, clock: ManualClock | None = None) -> Engine: ...


@pytest.fixture(scope="session")
def jobs_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (`unix:///…`) of an embedded server of this session. Raises EmbeddedServerError without a binary."""
    server = EmbeddedServer(tmp_path_factory.mktemp("jobs-redis"))
    # A thread of its own, so that no event loop of the tests is touched.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, server.start()).result()
        try:
            yield server.url
        finally:
            thread.submit(asyncio.run, server.stop()).result()


@pytest.fixture
def jobs_engine(jobs_redis_url: str) -> ConnectEngine:
    """Makes engines on the session's server, which is emptied first."""
    with Redis.from_url(jobs_redis_url) as client:
        client.flushall()

    def connect(registry: Registry, *, clock: ManualClock | None = None) -> Engine:
        return Engine.connect(jobs_redis_url, registry=registry, clock=clock)

    return connect
