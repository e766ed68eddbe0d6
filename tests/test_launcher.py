"""Proves that ./run needs Python and pip alone, installs what is locked and nothing else, and heals itself.

Most tests use a small checkout: the real launcher and the real pip, with a project that prints its arguments.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock")
BUILD = {"editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
TEST = {"iniconfig", "pygments", "pytest"}
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "dhanam-jobs"
version = "1"
scripts = { dhanam-jobs = "dhanam_jobs:main" }
"""
PRINTS_ITS_ARGUMENTS = """
import sys
def main():
    print(__file__, sys.argv[1:])
    return 3 if sys.argv[1:] == ["fail"] else 0
"""


def entries(lock: str) -> dict[str, str]:
    """A lock's entries by package, each with its hashes."""
    found = re.findall(r"^(\S[^=\s]*)==.*(?:\n .*)*", (ROOT / lock).read_text(), re.MULTILINE)
    texts = re.findall(r"^\S[^=\s]*==.*(?:\n .*)*", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(zip(map(canonicalize_name, found), texts, strict=True))


def part_of(lock: str, names: Iterable[str]) -> str:
    """The lines of a lock for these packages."""
    return "".join(f"{entries(lock)[name]}\n" for name in sorted(names))


def run(
    checkout: Path, *arguments: str, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`./run` in an environment that holds next to nothing."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(checkout.parent), **environment}
    # Where packages come from is the machine's affair; some say it in the environment.
    bare |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    return subprocess.run(
        [python, checkout / "run", *arguments], env=bare, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with the real launcher and the part of the real locks that it needs."""
    place = tmp_path / "small checkout"
    place.mkdir()
    shutil.copy(ROOT / "run", place)
    (place / "pyproject.toml").write_text(PROJECT)
    (place / "requirements.lock").write_text(part_of(LOCKS[0], BUILD))
    (place / "requirements-test.lock").write_text(part_of(LOCKS[1], BUILD | TEST))
    (place / "dhanam_jobs").mkdir()
    (place / "dhanam_jobs" / "__init__.py").write_text(PRINTS_ITS_ARGUMENTS)
    return place


def says(checkout: Path, *arguments: str) -> str:
    """What the small project prints."""
    return f"{checkout}/dhanam_jobs/__init__.py {list(arguments)}\n"


def test_an_old_interpreter_can_read_the_launcher() -> None:
    """Python 3.6 gets as far as saying what is wanted."""
    ast.parse((ROOT / "run").read_text(), feature_version=(3, 6))
    assert os.access(ROOT / "run", os.X_OK)


def test_without_a_new_python_the_found_and_the_wanted_are_named(tmp_path: Path) -> None:
    """An interpreter that is too old, and no other on PATH."""
    broken = tmp_path / "python3.13"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    old = f"import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path({str(ROOT / 'run')!r}, run_name='__main__')"
    found = subprocess.run(
        [sys.executable, "-c", old], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert re.search(r"found Python \S+ \(.*\) and no newer python3.x on PATH, wanted 3.11 or newer", found.stderr)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_hashes_and_no_address(lock: str) -> None:
    """Where packages come from is never said here, and each is known by its hash."""
    assert "://" not in (ROOT / lock).read_text()
    assert all("--hash=sha256:" in text for text in entries(lock).values())


def test_the_locks_hold_all_that_the_project_asks_for() -> None:
    """A dependency that was added or raised without `.ci/lock` would be missing on a new machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    embedded = project["project"]["optional-dependencies"]["embedded"]
    groups = project["dependency-groups"]
    service = [*project["project"]["dependencies"], *embedded, *groups["build"]]
    for lock, wanted in ((LOCKS[0], service), (LOCKS[1], [*service, *groups["test"]])):
        locked = entries(lock)
        for text in wanted:
            requirement = Requirement(text)
            entry = locked[canonicalize_name(requirement.name)]
            version = entry.split("==")[1].split()[0]
            assert requirement.specifier.contains(version), f"{lock} has {version}, pyproject.toml wants {text}"


def test_the_test_lock_holds_the_services_lock() -> None:
    """So that a .venv made for the tests serves the service too."""
    service, test = entries(LOCKS[0]), entries(LOCKS[1])
    assert {name: test.get(name) for name in service} == service


@pytest.mark.long
def test_a_new_checkout_is_set_up_once_and_becomes_the_program(checkout: Path) -> None:
    """Arguments, stdout and the exit code are the program's; without arguments it is `up`."""
    first = run(checkout, "token", "--admin")
    assert first.stdout == says(checkout, "token", "--admin"), first.stderr
    assert "setting up .venv" in first.stderr
    second = run(checkout)
    assert (second.stdout, second.stderr, second.returncode) == (says(checkout, "up"), "", 0)
    assert run(checkout, "fail").returncode == 3
    activated = run(checkout, python=checkout / ".venv" / "bin" / "python")
    assert (activated.stdout, activated.stderr) == (says(checkout, "up"), "")


@pytest.mark.long
def test_two_at_once_in_a_new_checkout_both_end_well(checkout: Path) -> None:
    """One sets up, the other waits for it."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(checkout.parent)}
    bare |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    both = [
        subprocess.Popen(
            [sys.executable, checkout / "run"], env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300) for process in both]
    assert [output for output, _ in told] == [says(checkout, "up")] * 2
    assert sum("./run: setting up .venv" in errors for _, errors in told) == 1


@pytest.mark.long
def test_a_set_up_that_was_cut_off_is_made_again(checkout: Path) -> None:
    """Whatever half a .venv lies there, it goes."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").write_text("half")
    (checkout / ".venv" / "bin" / "dhanam-jobs").write_text("half")
    assert run(checkout).stdout == says(checkout, "up")


@pytest.mark.long
def test_a_moved_checkout_is_set_up_again(checkout: Path) -> None:
    """A .venv holds paths, so it does not survive a move."""
    assert run(checkout).returncode == 0
    moved = checkout.rename(checkout.with_name("moved"))
    told = run(moved)
    assert told.stdout == says(moved, "up")
    assert "setting up .venv" in told.stderr


@pytest.mark.long
def test_a_changed_lock_is_installed(checkout: Path) -> None:
    """After a pull the next start has what the lock names, and no longer what it doesn't."""
    assert run(checkout).returncode == 0
    lock = checkout / "requirements.lock"
    lock.write_text(part_of(LOCKS[0], BUILD | {"typing-extensions"}))
    assert run(checkout).stdout == says(checkout, "up")
    assert list((checkout / ".venv").glob("lib/*/site-packages/typing_extensions.py"))
    lock.write_text(part_of(LOCKS[0], BUILD))
    assert run(checkout).returncode == 0
    assert not list((checkout / ".venv").glob("lib/*/site-packages/typing_extensions.py"))


@pytest.mark.long
def test_the_tests_run_with_what_follows_the_word(checkout: Path) -> None:
    """The test tools are added to the .venv that is there, from another folder too."""
    assert run(checkout).returncode == 0
    (checkout / "test_small.py").write_text("def test_good(): pass\ndef test_bad(): assert False\n")
    told = run(checkout, "test", "-q", "-k", "good")
    assert "1 passed, 1 deselected" in told.stdout, told.stderr
    assert "setting up .venv for the tests" in told.stderr
    assert run(checkout, "test", "-q").returncode == 1
    assert run(checkout).stderr == ""


@pytest.mark.long
def test_a_package_with_another_hash_is_refused(checkout: Path) -> None:
    """A changed package ends the set-up, and the next start tries again."""
    lock = checkout / "requirements.lock"
    good = lock.read_text()
    lock.write_text(re.sub(r"(hatchling.*\n(?: .*\n?)*)", lambda m: re.sub("sha256:.{6}", "sha256:000000", m[0]), good))
    told = run(checkout)
    assert told.returncode != 0
    assert told.stdout == ""
    assert "this step failed" in told.stderr
    lock.write_text(good)
    assert run(checkout).stdout == says(checkout, "up")


@pytest.mark.long
def test_an_interpreter_without_pip_uses_ensurepip_and_without_both_names_the_cure(
    checkout: Path, tmp_path: Path
) -> None:
    """Debian has pip and ensurepip in packages of their own; each alone is enough, and one line brings one."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--copies", bare], check=True)
    python = bare / "bin" / "python"
    told = run(checkout, python=python)
    assert told.stdout == says(checkout, "up"), told.stderr
    shutil.rmtree(checkout / ".venv")
    (site,) = bare.glob("lib/*/site-packages")
    (site / "no_ensurepip.pth").write_text("import sys; sys.modules['ensurepip'] = None\n")
    told = run(checkout, python=python)
    assert told.returncode == 1
    assert "has neither pip (22.3 or newer) nor ensurepip" in told.stderr
    assert told.stderr.rstrip().endswith("apt-get install -y python3-venv")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_locks_alone_are_enough_for_this_project(tmp_path: Path) -> None:
    """A copy of this checkout, under a new HOME, starts and runs tests."""
    place = tmp_path / "copy"
    skip = shutil.ignore_patterns(".venv", ".git", ".data", "*_cache", "__pycache__", "node_modules", ".hypothesis")
    shutil.copytree(ROOT, place, ignore=skip, symlinks=True)
    told = run(place, "--help")
    assert told.returncode == 0, told.stderr
    assert "token" in told.stdout
    told = run(place, "test", "-q", "tests/test_settings.py")
    assert told.returncode == 0, told.stdout + told.stderr
