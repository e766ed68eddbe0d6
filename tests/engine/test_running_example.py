"""Proves that the example of docs/running.md does what its page says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "running.py"
SAID = """\
ran write
{'done': 2, 'of': 2} ['wrote to Ana', 'wrote to Ben']
ran count-primes
168
"""
ENDED = ["cancelled the office closes", "failed no paper", "break failed: no paper", "closed with 2 letters"]


async def test_the_example_of_running_runs(redis_url: str) -> None:
    """Its output is the same each time, but for what happens side by side."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, redis_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = (text.decode() for text in await program.communicate())
    assert (program.returncode, err) == (0, "")
    assert out.startswith(SAID)
    lines = out.splitlines()
    assert next(line for line in lines if line in ENDED) == ENDED[0]
    assert sorted(line for line in lines if line in ENDED) == sorted(ENDED)
