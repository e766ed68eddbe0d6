"""The table of what is compared: each engine, its variants, how much it is given and what it keeps.

Starting processes and measuring is left to measure.py.
"""

import sys
from enum import StrEnum
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
BULLMQ_DIR = PEERS / "bullmq"
ARQ_PYTHON = PEERS / ".venv" / "bin" / "python"

WIDE_CONCURRENCY = 100
NARROW_CONCURRENCY = 5
IN_FLIGHT = 100
CHUNK = 1000
LATENCY_INTERVAL_MS = 5
# The first lone jobs pay for connections, compilation and script loading; they run but aren't counted.
LATENCY_WARM_UP = 50


class Engine(StrEnum):
    """Who runs the jobs; decides the process that is started and the parts that must be installed."""

    OURS = "ours"
    BULLMQ = "bullmq"
    ARQ = "arq"


class Sizes(msgspec.Struct, frozen=True):
    """Numbers of jobs: drained at concurrency 100, drained at concurrency 5, sent one by one for latency."""

    wide: int
    narrow: int
    latency: int

    def scaled(self, factor: float) -> "Sizes":
        """The same sizes times `factor`, none below 100 jobs."""
        return Sizes(
            wide=max(100, int(self.wide * factor)),
            narrow=max(100, int(self.narrow * factor)),
            latency=max(100, int(self.latency * factor)),
        )


class Contestant(msgspec.Struct, frozen=True):
    """One row of the result: an engine with certain options.

    `options` are added to those that its process gets for each measured stretch; `bulk` says whether the
    engine can enqueue many jobs in one call; `keeps` says for readers what is left of a completed job.
    """

    name: str
    engine: Engine
    sizes: Sizes
    keeps: str
    bulk: bool
    options: dict[str, int | float] = {}

    def command(self) -> list[str]:
        """The process that serves this contestant, without mode and options."""
        match self.engine:
            case Engine.OURS:
                return [sys.executable, "-m", "benchmarks.ours"]
            case Engine.BULLMQ:
                return ["node", str(BULLMQ_DIR / "bench.mjs")]
            case Engine.ARQ:
                return [str(ARQ_PYTHON), str(PEERS / "arq" / "bench.py")]


def contestants(wide: int, narrow: int, arq: int, latency: int) -> list[Contestant]:
    """All rows, ours first.

    `wide` and `narrow` are the sizes for ours and BullMQ, `arq` that of arq at concurrency 100; at
    concurrency 5 arq gets two fifths of it, because there its default polling starts 200 jobs a second.
    """
    sizes = Sizes(wide=wide, narrow=narrow, latency=latency)
    slow = Sizes(wide=arq, narrow=max(100, arq * 2 // 5), latency=latency)
    return [
        Contestant("ours", Engine.OURS, sizes, "the last 100 completed", bulk=True),
        Contestant("bullmq", Engine.BULLMQ, sizes, "all completed, for ever", bulk=True),
        Contestant(
            "bullmq keep-100",
            Engine.BULLMQ,
            sizes,
            "the last 100 completed",
            bulk=True,
            options={"remove_on_complete": 100},
        ),
        Contestant("arq", Engine.ARQ, slow, "results, 1 hour", bulk=False),
        Contestant(
            "arq poll-1ms",
            Engine.ARQ,
            slow,
            "results, 1 hour",
            bulk=False,
            options={"poll_delay_s": 0.001},
        ),
    ]
