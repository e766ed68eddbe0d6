"""The Lua scripts as the rest of the engine sees them: loaded once, named by their hash.

A script file is one verb. Its line `-- include: a b` names shared parts in `lua/lib`, which are put in its place in
that order; such a line further down, in a branch, makes its parts only where they are needed. Redis is given the whole
text once and the SHA-1 from then on; `NOSCRIPT` (a restart, SCRIPT FLUSH) gives the text again.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

_INCLUDE = re.compile(r"^-- include: (.*)$", re.MULTILINE)


class Script:
    """One verb: `name`, the whole `text`, and `sha`, the name by which Redis knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = assemble(name)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def _source(path: str) -> str:
    return files("dhanam_jobs.engine").joinpath("lua", path).read_text("utf-8")


def assemble(name: str) -> str:
    """The text of a verb with its shared parts in place."""

    def parts(match: re.Match[str]) -> str:
        return "\n".join(_source(f"lib/{part}.lua") for part in match[1].split())

    return _INCLUDE.sub(parts, _source(f"{name}.lua"))


ACCEPT: Final = Script("accept")
ADD_CHILDREN: Final = Script("add_children")
BACKLOG: Final = Script("backlog")
BEAT: Final = Script("beat")
CANCEL: Final = Script("cancel")
CLAIM: Final = Script("claim")
CLEAR: Final = Script("clear")
EDIT: Final = Script("edit")
ENQUEUE: Final = Script("enqueue")
EXPLAIN: Final = Script("explain")
FAMILY: Final = Script("family")
FIND: Final = Script("find")
FREE_KEY: Final = Script("free_key")
HOOKS: Final = Script("hooks")
INSPECT: Final = Script("inspect")
LEAVE: Final = Script("leave")
LET_GO: Final = Script("let_go")
LIMIT: Final = Script("limit")
LIMIT_LENGTH: Final = Script("limit_length")
LIMITS: Final = Script("limits")
LIST: Final = Script("list")
MESSAGE: Final = Script("message")
METER: Final = Script("meter")
METRICS: Final = Script("metrics")
NOTE: Final = Script("note")
NOTES: Final = Script("notes")
OUTGOING: Final = Script("outgoing")
PAUSE: Final = Script("pause")
PROMOTE_NOW: Final = Script("promote_now")
PRUNE: Final = Script("prune")
RECOVER: Final = Script("recover")
REGISTER: Final = Script("register")
REMOVE: Final = Script("remove")
REPRIORITISE: Final = Script("reprioritise")
RESUME: Final = Script("resume")
RETRY: Final = Script("retry")
RING: Final = Script("ring")
SCHEDULE_DUE: Final = Script("schedule_due")
SCHEDULE_LIST: Final = Script("schedule_list")
SCHEDULE_PAUSE: Final = Script("schedule_pause")
SCHEDULE_REMOVE: Final = Script("schedule_remove")
SCHEDULE_RESUME: Final = Script("schedule_resume")
SCHEDULE_RUN: Final = Script("schedule_run")
SCHEDULE_UPSERT: Final = Script("schedule_upsert")
SENT: Final = Script("sent")
SETTLE: Final = Script("settle")
STATS: Final = Script("stats")
SWEEP: Final = Script("sweep")
TAKE_ALONG: Final = Script("take_along")
TICK: Final = Script("tick")
TIDY: Final = Script("tidy")
TOLD: Final = Script("told")
UNPARK: Final = Script("unpark")
UNTOLD: Final = Script("untold")
WAIT: Final = Script("wait")
WORKERS: Final = Script("workers")
