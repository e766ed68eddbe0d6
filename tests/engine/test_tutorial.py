"""Proves that the tutorial's page is what its files are made into, and that each file prints what the page says."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from redis.asyncio import Redis

FOLDER = Path(__file__).parents[2] / "docs" / "tutorial"
STEPS = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The program that makes the page."""
    spec = importlib.util.spec_from_file_location("make_tutorial", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said() -> dict[str, str]:
    """What each step prints, as the page has it."""
    page = (FOLDER / "README.md").read_text("utf-8")
    found = re.findall(r"^\[`(\S+\.py)`\].*?^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return dict(found)


def test_the_tutorial_has_ten_steps_and_its_page_is_made_from_them(make: ModuleType) -> None:
    """`python docs/tutorial/make.py` writes it."""
    assert len(STEPS) == 10
    assert make.page(said()) == (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_prints_what_the_page_shows(redis: Redis, redis_url: str, make: ModuleType, step: str) -> None:
    """On an emptied server, and once more on what the first run left."""
    printed = [await asyncio.to_thread(make.run, FOLDER / step, redis_url)]
    if step != "07_events.py":  # it counts what ran
        printed.append(await asyncio.to_thread(make.run, FOLDER / step, redis_url))
    assert set(printed) == {said()[step]}
