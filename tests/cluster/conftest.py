"""Gives tests a running Redis Cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dhanam_jobs.engine.server_binary import find_server_binary
from tests.cluster.ground import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster of the test's own."""
    cluster = Cluster(tmp_path, find_server_binary())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
