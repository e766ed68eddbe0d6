"""Proves that the reference is what the docstrings say today, and that every public name has one."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dhanam_jobs import engine
from dhanam_jobs.engine import events, pytest_plugin, testing

DOCS = Path(__file__).parents[2] / "docs"
#: Every public name and what it names; the events' classes and what is there for tests, too.
PUBLIC: dict[str, Any] = {
    **{name: getattr(engine, name) for name in engine.__all__},
    **{f"testing.{name}": getattr(testing, name) for name in testing.__all__},
    **{f"events.{name}": kind for name, kind in vars(events).items() if isinstance(kind, type(events.Event))},
    "pytest_plugin.ConnectEngine": pytest_plugin.ConnectEngine,
}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The program that makes the page."""
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_fresh(reference: ModuleType) -> None:
    """`python docs/reference.py` writes it."""
    assert (DOCS / "reference.md").read_text("utf-8") == reference.page(), "stale: run `python docs/reference.py`"


def test_the_reference_names_every_public_name_and_leads_to_it(reference: ModuleType) -> None:
    """And nothing in it depends on where or when it was made."""
    page = reference.page()
    headings = {line.lstrip("# ") for line in page.splitlines() if line.startswith("#")}
    assert {name.rpartition(".")[2] for name in PUBLIC} - {"events"} <= headings
    assert "object at 0x" not in page
    assert page == reference.page()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_in_its_own_words_what_it_is(name: str) -> None:
    """Its own docstring, not one that it inherits, and so for its public methods and properties."""
    thing = PUBLIC[name]
    assert thing.__doc__, f"{name} has no docstring"
    if not inspect.isclass(thing):
        return
    bare = [
        member
        for member, value in vars(thing).items()
        if not member.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
        and not value.__doc__
    ]
    assert not bare, f"{name}: without a docstring: {bare}"


#: Coroutines that have nothing to raise, or whose part it is to raise what they like.
RAISE_NOTHING = {
    "Engine.close",
    "EventReader.aclose",
    "JobContext.flush",
    "Middleware.failed",
    "Middleware.run",
    "OutboxRelay.run",
    "ResourceScope.close",
    "ResourceScope.open",
    "Scheduler.stop",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_coroutine_says_what_it_raises(name: str, reference: ModuleType) -> None:
    """It, or its class for all of its methods; what asks Redis can fail."""
    thing = PUBLIC[name]
    methods = reference._members(thing) if inspect.isclass(thing) else []
    said = re.compile(r"\braises?\b|\berrors\b.*?\bas\b|; as `?[A-Z]", re.IGNORECASE | re.DOTALL)
    silent = [
        f"{name}.{method}"
        for method, value in methods
        if inspect.iscoroutinefunction(value) and not said.search(f"{value.__doc__}\n{thing.__doc__}")
    ]
    if inspect.iscoroutinefunction(thing) and not said.search(thing.__doc__ or ""):
        silent.append(name)
    assert not set(silent) - RAISE_NOTHING


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if inspect.isclass(thing)])
def test_arguments_of_a_public_constructor_are_explained(name: str, reference: ModuleType) -> None:
    """Whoever makes one finds each argument in the docstring of the class."""
    thing = PUBLIC[name]
    if not reference._is_made_by_users(thing):
        return
    arguments = set(inspect.signature(thing).parameters) - {"engine"}
    missing = [one for one in sorted(arguments) if not re.search(rf"\b{one}\b", thing.__doc__ or "")]
    assert not missing, f"{name}: not explained: {missing}"
