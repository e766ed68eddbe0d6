"""What the numbers were taken on: processor, system, and the versions of everything that took part."""

import json
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from benchmarks.contestants import ARQ_PYTHON, BULLMQ_DIR, ROOT


class Machine(msgspec.Struct, frozen=True):
    """The processor's name and number of cores, memory in GiB, the kernel, and name → version."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    versions: dict[str, str]


def machine(redis_version: str) -> Machine:
    """Reads the machine and the versions of what is installed; peers that aren't are left out."""
    versions = {"redis": redis_version, "python": platform.python_version(), "dhanam-jobs": _commit()}
    versions |= {name: version(name) for name in ("hiredis", "uvloop", "msgspec") if _known(name)}
    versions["redis-py"] = version("redis")
    versions |= _bullmq_versions() | _arq_versions()
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        versions=versions,
    )


def _known(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _commit() -> str:
    """The package's version and commit, "+changes" where the package's files differ from it."""
    own = version("dhanam-jobs")
    commit = _output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    if commit is None:
        return own
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--", "dhanam_jobs"])
    return f"{own} {commit}{'+changes' if changed else ''}"


def _bullmq_versions() -> dict[str, str]:
    found = {}
    for name in ("bullmq", "ioredis"):
        package = BULLMQ_DIR / "node_modules" / name / "package.json"
        if package.is_file():
            found[name] = str(json.loads(package.read_text())["version"])
    node = _output(["node", "--version"])
    return found if node is None else {"node": node.removeprefix("v"), **found}


def _arq_versions() -> dict[str, str]:
    code = "from importlib.metadata import version as v; print(v('arq'), v('redis'))"
    answer = _output([str(ARQ_PYTHON), "-c", code])
    if answer is None:
        return {}
    arq, client = answer.split()
    return {"arq": arq, "redis-py of arq": client}


def _output(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    ended = subprocess.run(command, capture_output=True, text=True)
    return ended.stdout.strip() if ended.returncode == 0 else None
