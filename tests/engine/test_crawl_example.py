"""Proves that the example of docs/fan-out.md runs, and what it finds."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "crawl.py"


@pytest.mark.parametrize("pages", [50, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_crawl_finds_every_page_once(redis_url: str, pages: int) -> None:
    """As a process of its own: each page but the first is linked once, and every seventh fails at first."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), redis_url, str(pages)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert output.decode().splitlines() == [f"{pages} pages, {2 * pages - 1} words, 0 missing"]
