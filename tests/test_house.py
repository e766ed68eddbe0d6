"""Proves that the house's rules hold: layers, scripts with header, name and test, docstrings for what is public."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dhanam_jobs.engine as engine
from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.scripts import Script
from dhanam_jobs.settings import Settings

ROOT = Path(__file__).parents[1]
LUA = ROOT / "dhanam_jobs" / "engine" / "lua"
VERBS = sorted(path.stem for path in LUA.glob("*.lua"))


def header(verb: str) -> str:
    """The comment that stands first in a script, up to its includes."""
    lines = (LUA / f"{verb}.lua").read_text("utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:end])


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_begins_with_its_verb_its_transition_its_keys_arguments_and_replies(verb: str) -> None:
    """A reader needs no more to call it."""
    text = header(verb)
    assert re.match(rf"-- {verb}: \S", text)
    for part in (r"^-- KEYS  1 root$", r"^-- ARGV  1 time", r"^-- Returns ", r"^-- include: root\b"):
        assert re.search(part, text, re.MULTILINE), f"{verb}.lua has no line like {part}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_has_a_name_in_python_and_a_test_of_its_own(verb: str) -> None:
    """No script is run but those that are proved."""
    script = getattr(scripts, verb.upper(), None)
    assert isinstance(script, Script)
    assert script.name == verb
    assert (ROOT / "tests" / "engine" / "lua" / f"test_{verb}.py").is_file()


def test_every_shared_part_is_included_somewhere_and_in_the_order_that_it_needs() -> None:
    """What is not included is dead, and every include exists."""
    parts = {path.stem for path in (LUA / "lib").glob("*.lua")}
    texts = [(LUA / f"{verb}.lua").read_text("utf-8") for verb in VERBS]
    lines = [line for text in texts for line in re.findall(r"^-- include: (.*)$", text, re.MULTILINE)]
    included = {part for line in lines for part in line.split()}
    assert included == parts


@pytest.mark.parametrize("name", engine.__all__)
def test_a_public_name_has_a_docstring_and_so_have_its_public_methods(name: str) -> None:
    """The engine may be used as a library."""
    thing = getattr(engine, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod)):
                assert inspect.getdoc(getattr(thing, method)), f"{name}.{method} has no docstring"


def test_imports_point_one_way() -> None:
    """`__main__` > http > handlers > engine."""
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_readme_names_every_setting() -> None:
    """Nobody has to look for one in the code."""
    beside = {"embedded_mode", "force_embedded_redis", "concurrency"}  # what other settings come to
    names = {name.upper() for name in Settings.__struct_fields__ if name not in beside}
    page = (ROOT / "README.md").read_text("utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()
