"""Proves that users' tests get a real server from the plugin, empty for each test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "shop"
USERS_TEST = """
import asyncio

import pytest

from dhanam_jobs.engine import Registry, Worker

registry = Registry()


@registry.job("greet", queue="hello")
async def greet(ctx, payload: str) -> str:
    return f"hello {payload}"


async def run(jobs_engine):
    async with jobs_engine(registry) as engine:
        queue = engine.queue("hello")
        assert (await queue.operations.page("completed")).jobs == []
        job = await queue.enqueue("greet", "Ana")
        async with Worker(queue):
            assert await job.result(timeout=10) == "hello Ana"


@pytest.mark.parametrize("time", [1, 2])
def test_a_job_runs_on_an_empty_server(jobs_engine, time):
    asyncio.run(run(jobs_engine))
"""


def test_the_example_project_of_the_testing_page_passes(tmp_path: Path) -> None:
    """Fixtures, one handler called, jobs run inline and the clock, together, as a user's suite has them."""
    project = shutil.copytree(EXAMPLE, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 passed" in ended.stdout


def test_the_plugin_gives_each_test_an_empty_server_that_runs_jobs(tmp_path: Path) -> None:
    """In a pytest process of its own, as users load it: the second test finds nothing of the first."""
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dhanam_jobs.engine.pytest_plugin", "test_users.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout
