"""The names of the engine's keys, and the ids that live in them.

All keys of a queue share the hash tag `{queue}`, so that a queue lives in one slot of a Redis Cluster. The scripts
build the same names from the queue's root; ARCHITECTURE.md holds the table of keys with type, bound and owner.
"""

from __future__ import annotations

import re

from . import checks
from .defaults import LEVELS, MAX_ID_LENGTH
from .errors import ConfigurationError

GROUP = "workers"
_QUEUE_NAME = re.compile(r"[a-z0-9._-]{1,64}\Z")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_GENERATED_ID = re.compile(r"[0-9]-[0-9]+-s?[0-9]+\Z")
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def root(prefix: str, queue: str) -> str:
    """`jobs:{email-notifications}`: what every key of the queue begins with."""
    return f"{prefix}:{{{queue}}}"


def registry(prefix: str) -> str:
    """Hash: layout version, known queues, the queue of each schedule."""
    return f"{prefix}:registry"


def schedule(prefix: str, queue: str, name: str) -> str:
    """Hash: one schedule of a queue, in words."""
    return f"{root(prefix, queue)}:schedule:{name}"


def schedule_changes(prefix: str) -> str:
    """Stream: the last changes of schedules, which wakes the schedulers."""
    return f"{prefix}:schedule-changes"


def check_prefix(prefix: str) -> str:
    """Returns the prefix, or raises ConfigurationError."""
    if not isinstance(prefix, str) or not _PREFIX.match(prefix):
        raise ConfigurationError(f"key prefix {checks.shown(prefix)}: wanted 1 to 64 of A-Z a-z 0-9 . _ : -")
    return prefix


def check_queue_name(name: str) -> str:
    """Returns the name, or raises ConfigurationError."""
    if not isinstance(name, str) or not _QUEUE_NAME.match(name):
        raise ConfigurationError(f"queue name {checks.shown(name)}: wanted 1 to 64 of a-z 0-9 . _ -")
    return name


def check_custom_id(job_id: str) -> str:
    """Returns an id chosen by the caller, or raises ConfigurationError.

    Generated ids are `<level>-<ms>-<n>`: the level and stream entry where the job was born, so that a plain job is
    found without an index. A chosen id may not look like one.
    """
    _check_name("job id", job_id)
    if _GENERATED_ID.match(job_id):
        raise ConfigurationError(f"job id {job_id!r} looks like a generated one; choose another form")
    return job_id


def check_unique_key(key: str) -> str:
    """Returns a unique key, or raises ConfigurationError."""
    return _check_name("unique key", key)


def check_limit_key(key: str) -> str:
    """Returns a key that limits are kept for, or raises ConfigurationError."""
    return _check_name("limit key", key)


def _check_name(what: str, name: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_ID_LENGTH or _UNFIT.search(name):
        raise ConfigurationError(
            f"{what} {checks.shown(name)}: wanted 1 to {MAX_ID_LENGTH} characters "
            "without white space or control characters"
        )
    return name


def check_priority(priority: int) -> int:
    """Returns the level, or raises ConfigurationError (also for True and 5.0)."""
    if type(priority) is not int or not 0 <= priority < LEVELS:
        raise ConfigurationError(
            f"priority {checks.shown(priority)}: wanted a whole number from 0 (most urgent) to {LEVELS - 1}"
        )
    return priority
