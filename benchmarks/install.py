"""Installs the peers at their exact versions into folders that git ignores, once per set of pins.

The pins stand in peers/bullmq/package.json and peers/arq/requirements.txt.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from benchmarks.contestants import ARQ_PYTHON, BULLMQ_DIR, PEERS, Engine


def install(engines: Iterable[Engine]) -> None:
    """Makes each named peer ready; does nothing where its pins haven't changed.

    Raises RuntimeError naming what is missing (node, npm) or the command that failed.
    """
    wanted = set(engines)
    if Engine.BULLMQ in wanted:
        _install_bullmq()
    if Engine.ARQ in wanted:
        _install_arq()


def _install_bullmq() -> None:
    for binary in ("node", "npm"):
        if shutil.which(binary) is None:
            raise RuntimeError(f"{binary} isn't on PATH; BullMQ wants Node 20 or newer (or: --without bullmq)")
    modules = BULLMQ_DIR / "node_modules"
    stamp, pins = modules / ".installed", _digest(BULLMQ_DIR / "package.json")
    if _is(stamp, pins):
        return
    if modules.exists():
        shutil.rmtree(modules)
    # No lock file: it would name the registry's host on every line. The overrides pin what is indirect.
    flags = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run(["npm", "install", *flags], BULLMQ_DIR)
    stamp.write_text(pins)


def _install_arq() -> None:
    requirements = PEERS / "arq" / "requirements.txt"
    environment = ARQ_PYTHON.parent.parent
    stamp, pins = environment / ".installed", _digest(requirements)
    if _is(stamp, pins):
        return
    if environment.exists():
        shutil.rmtree(environment)
    uv = shutil.which("uv")
    venv.create(environment, with_pip=uv is None)
    if uv is None:
        _run([str(ARQ_PYTHON), "-m", "pip", "install", "-q", "-r", str(requirements)], PEERS)
    else:
        _run([uv, "pip", "install", "-q", "--python", str(ARQ_PYTHON), "-r", str(requirements)], PEERS)
    stamp.write_text(pins)


def _digest(pins: Path) -> str:
    # A checkout that was moved, or another Python, leaves scripts and wheels that no longer fit.
    parts = pins.read_bytes() + sys.version.encode() + str(pins.parent).encode()
    return hashlib.sha256(parts).hexdigest()


def _is(stamp: Path, pins: str) -> bool:
    return stamp.is_file() and stamp.read_text() == pins


def _run(command: list[str], cwd: Path) -> None:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} … failed with {ended.returncode}:\n{ended.stderr[-2000:]}")
