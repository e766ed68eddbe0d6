"""Proves that the example of docs/limits.md does what its page says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "limits.py"
SAID = """\
50 pages of big wait
quick was among the first three: True
small ran on attempt 1
its limit was Limit(concurrency=2, starts=None, period=None)
"""


async def test_the_example_of_limits_runs(redis_url: str) -> None:
    """Its output is the same each time."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, redis_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = (text.decode() for text in await program.communicate())
    assert (program.returncode, err) == (0, "")
    assert out == SAID
