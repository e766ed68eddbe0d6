"""What a caller may ask for one job, and what the rows of its name and queue ask for it: the nearest wins.

Checks every option where it is given and writes them down as `enqueue.lua` takes them; payloads and sending are
others' (`request.py`, `queue.py`, `sync_client.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, TypedDict, get_args

import msgspec

from . import checks, defaults, keys
from .errors import ConfigurationError
from .nesting import too_deep
from .policy import Retention, RetryPolicy
from .registry import JobType, QueueConfig, check_delay, check_expires, check_timeout

IfExists = Literal["return", "rerun_finished"]
UniqueMode = Literal["wait", "throttle", "debounce", "keep_last"]
_encode = msgspec.json.Encoder().encode


class Unique(msgspec.Struct, frozen=True):
    """A key that at most one job holds at a time, and what becomes of another one that asks for it.

    - `"wait"` (what a bare key means): while a job holds the key, waiting or running, one with an equal payload is that
      job; one with another payload waits until it has ended.
    - `"throttle"`: for `period` seconds from the first, every further one is the first, whatever its payload and also
      when the first has ended. Such keys are apart from those of the other modes.
    - `"debounce"`: the job runs `period` seconds after the last call, with that call's data: a call replaces a job that
      has not started and restarts its timer, but no further than `max_wait` seconds (default: no limit) after the
      first. While one runs, one follow-up is kept in this way, and it never starts before the running one has ended.
    - `"keep_last"`: runs at once; while one waits or runs, one follow-up with the newest data is kept, and never runs
      beside it. A job that is delayed and has not started takes the newest data itself, and keeps its time.

    What is replaced is all but id, creation time and owners. A key is freed when its holder ends (not by a retry), by
    the end of a throttle's period, or by hand with `Queue.free_key`.

    `key`: at most 256 characters, no white space. `period` and `max_wait`: seconds above 0. Raises ConfigurationError.
    """

    key: str
    mode: UniqueMode = "wait"
    period: float | None = None
    max_wait: float | None = None

    def __post_init__(self) -> None:
        keys.check_unique_key(self.key)
        if self.mode not in get_args(UniqueMode):
            raise ConfigurationError(f"unique mode {self.mode!r}: wanted one of {', '.join(get_args(UniqueMode))}")
        timed = self.mode in ("throttle", "debounce")
        if timed and self.period is None:
            raise ConfigurationError(f"unique mode {self.mode!r} without a period: wanted seconds")
        if not timed and self.period is not None:
            raise ConfigurationError(f"unique mode {self.mode!r} with a period of {self.period!r} s: it has none")
        if self.max_wait is not None and self.mode != "debounce":
            raise ConfigurationError(f"unique mode {self.mode!r} with a max_wait: only debounce has one")
        for name, seconds in (("period", self.period), ("max_wait", self.max_wait)):
            if seconds is not None and not check_delay(seconds) > 0:
                raise ConfigurationError(f"{name} {seconds!r} of a unique key: wanted seconds above 0")


class EnqueueOptions(TypedDict, total=False):
    """What may be asked for one job; None is the same as nothing.

    - `id`: the caller's own, at most 256 characters, no white space; a job of that id is returned as it is
      (`job.created` False), whatever its state, unless `if_exists="rerun_finished"`, which replaces one that has ended.
      Without it the queue makes one.
    - `priority`: 0 (most urgent) to 9; by default 5.
    - `delay` in seconds, up to ten years, or `run_at` (an aware datetime): before that it doesn't run.
    - `expires`: seconds after it may run, or a moment (aware), by which it must have started; else it is failed without
      being run (`Expired`).
    - `unique`: a key of at most 256 characters, or a `Unique` that says how.
    - `retry`: a `RetryPolicy` of numbers. `timeout`: seconds for one attempt, up to a year; by default 300.
      `retention`: a `Retention` in which 0 keeps no record of this job. These replace what its name and queue ask for.
    - `meta`: anything of string keys that JSON can hold, up to 64 KB, kept with the job.
    - `key`: for whom limits are kept and turns are taken (a tenant, a user, a provider), at most 256 characters.
    - `owner`: a text of at most 256 characters that is noted on the job, and on the job that is joined.

    An illegal value raises ConfigurationError where it is given.
    """

    id: str | None
    priority: int | None
    delay: float | None
    run_at: datetime | None
    expires: float | datetime | None
    unique: str | Unique | None
    if_exists: IfExists
    retry: RetryPolicy | None
    timeout: float | None
    retention: Retention | None
    meta: dict[str, Any] | None
    key: str | None
    owner: str | None


_KNOWN = EnqueueOptions.__annotations__.keys()


class Defaults:
    """The options of a job's name over those of its queue: what a call that asks for nothing gets.

    `plain` says that it asks for nothing but a level.
    """

    __slots__ = ("delay", "expires", "level", "plain", "row")

    def __init__(self, job_type: JobType | None, queue: QueueConfig | None) -> None:
        self.row = job_type
        self.level = defaults.PRIORITY
        self.delay: float | None = None
        self.expires: float | None = None
        for source in (queue, job_type):
            if source is not None:
                self.level = self.level if source.priority is None else source.priority
                self.delay = self.delay if source.delay is None else source.delay
                self.expires = self.expires if source.expires is None else source.expires
        self.plain = (
            not self.delay
            and self.expires is None
            and (job_type is None or (job_type.unique is None and job_type.id is None and job_type.key is None))
        )


def write_options(options: EnqueueOptions, defaults_: Defaults, payload: Any) -> tuple[int, bytes]:
    """The level and the `extra` argument of `enqueue.lua` for one job. `payload` is the decoded one, given to the row's
    functions. Raises ConfigurationError."""
    if not options.keys() <= _KNOWN:
        unknown = ", ".join(sorted(options.keys() - _KNOWN))
        raise ConfigurationError(f"unknown option {unknown}; there are: {', '.join(_KNOWN)}")
    row = defaults_.row
    priority, job_id, unique = options.get("priority"), options.get("id"), options.get("unique")
    level = defaults_.level if priority is None else keys.check_priority(priority)
    if row is not None:
        if unique is None and row.unique is not None:
            unique = row.unique(payload)
        if job_id is None and row.id is not None:
            job_id = row.id(payload)
    extra: dict[str, Any] = {}
    if job_id is not None:
        extra["id"] = keys.check_custom_id(job_id)
        if_exists = options.get("if_exists", "return")
        if if_exists not in get_args(IfExists):
            raise ConfigurationError(f"if_exists {if_exists!r}: wanted 'return' or 'rerun_finished'")
        extra["mode"] = if_exists
    timed = _write_unique(extra, unique)
    _write_times(extra, options, defaults_, timed)
    fields: list[str] = []
    key = options.get("key")
    if key is None and row is not None and row.key is not None:
        key = row.key(payload)
    if key is not None:
        fields += ["key", keys.check_limit_key(key)]
    kept = _kept(options, row)
    if kept:
        fields += ["options", _encode(kept).decode()]
    meta, owner = options.get("meta"), options.get("owner")
    if meta is not None:
        checks.kind("meta", meta, dict)
    if owner is not None:
        extra["owner"] = checks.text("owner", owner, defaults.MAX_ID_LENGTH)
        meta = {**(meta or {}), "owners": [*(meta or {}).get("owners", []), owner]}
    if meta is not None:
        fields += ["meta", _encoded_meta(meta)]
    if fields:
        extra["fields"] = fields
    return level, _encode(extra) if extra else b""


def _write_unique(extra: dict[str, Any], unique: str | Unique | None) -> bool:
    """True where the key's mode says when the job is due."""
    if unique is None:
        return False
    if isinstance(unique, str):
        extra["unique"] = keys.check_unique_key(unique)
        return False
    if not isinstance(unique, Unique):
        raise ConfigurationError(f"unique {unique!r}: wanted a text or a Unique")
    extra["unique"] = unique.key
    if unique.mode != "wait":
        extra["unique_mode"] = unique.mode
    if unique.period is not None:
        extra["period"] = max(1, round(unique.period * 1000))
    if unique.max_wait is not None:
        extra["max_wait"] = max(1, round(unique.max_wait * 1000))
    return unique.mode == "debounce"


def _write_times(extra: dict[str, Any], options: EnqueueOptions, defaults_: Defaults, timed: bool) -> None:
    delay, run_at, expires = options.get("delay"), options.get("run_at"), options.get("expires")
    if delay is not None and run_at is not None:
        raise ConfigurationError("both delay and run_at were given; one says when the job may run")
    if timed and (delay is not None or run_at is not None):
        raise ConfigurationError("a debounced job is due when its period is over; it takes no delay and no run_at")
    if run_at is not None:
        extra["due"] = instant_ms("run_at", run_at)
    elif not timed:
        delay = defaults_.delay if delay is None else check_delay(delay)
        if delay is not None:
            extra["delay"] = round(delay * 1000)
    if expires is None:
        expires = defaults_.expires
    if isinstance(expires, datetime):
        extra["expires_at"] = instant_ms("expires", expires)
    elif expires is not None:
        extra["expires"] = max(1, round(check_expires(expires) * 1000))


def _kept(options: EnqueueOptions, row: JobType | None) -> dict[str, Any]:
    """The options that travel with the job, where they differ from those of its name: the worker knows the rest."""
    kept: dict[str, Any] = {}
    retry, timeout, retention = options.get("retry"), options.get("timeout"), options.get("retention")
    if retry is not None and (row is None or retry != row.retry):
        kept["retry"] = checks.kind("retry", retry, RetryPolicy).to_option()
    if timeout is not None and (row is None or timeout != row.timeout):
        kept["timeout"] = check_timeout(timeout)
    if retention is not None and (row is None or retention != row.retention):
        kept["retention"] = checks.kind("retention", retention, Retention)
    return kept


def _encoded_meta(meta: dict[str, Any]) -> str:
    try:
        encoded = _encode(meta)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"meta can't be encoded as JSON: {error}") from None
    if len(encoded) > defaults.MAX_META_BYTES:
        raise ConfigurationError(f"meta has {len(encoded)} bytes; wanted at most {defaults.MAX_META_BYTES}")
    if too_deep(encoded):
        raise ConfigurationError(f"meta is nested too deep; wanted at most {defaults.MAX_DEPTH} levels")
    return encoded.decode()


def instant_ms(what: str, moment: datetime) -> int:
    """Milliseconds since 1970; raises ConfigurationError for a moment without a time zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigurationError(f"{what} {moment!r}: wanted a datetime with a time zone")
    return round(moment.astimezone(UTC).timestamp() * 1000)
