"""Proves that the example of docs/operators.md runs, and what it prints."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "operators.py"


async def test_the_example_runs_as_it_stands(redis_url: str) -> None:
    """As a process of its own, against a real server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), redis_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert output.decode().splitlines() == [
        "no worker of queue 'post' is alive",
        "1 failed, searched 1 of 1: no address: ben",
        "sent to ben@example.org",
        "sent to zoe@example.org",
        "4 jobs and records removed",
    ]
