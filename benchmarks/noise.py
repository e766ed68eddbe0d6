"""How much of the machine others used while something was measured.

Reads /proc/stat and waits for a quiet moment; deciding which runs are too noisy is left to the caller.
"""

import os
import resource
import time
from pathlib import Path

import msgspec

_STAT = Path("/proc/stat")


class Noise(msgspec.Struct, frozen=True):
    """Shares of a core, averaged over the stretch: 0.2 is a fifth of one core.

    `foreign` was used by processes that are not part of the benchmark (the kernel's interrupts count as
    foreign), `stolen` was taken by the hypervisor. Both None where /proc/stat can't be read.
    """

    foreign: float | None
    stolen: float | None


class NoiseMeter:
    """Measures from its construction to `read`.

    The kernel counts in steps of 10 ms, so that stretches much shorter than a second are coarse.
    """

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._machine = _machine_s()
        self._children_s = _own_s()

    def read(self, server_cpu_s: float) -> Noise:
        """`server_cpu_s`: CPU seconds of Redis in the same stretch; children must have been waited for."""
        now = _machine_s()
        if now is None or self._machine is None:
            return Noise(foreign=None, stolen=None)
        wall_s = time.monotonic() - self._start_s
        busy_s = now[0] - self._machine[0]
        foreign_s = busy_s - (_own_s() - self._children_s) - server_cpu_s
        return Noise(
            foreign=round(max(0.0, foreign_s / wall_s), 3),
            stolen=round(max(0.0, (now[1] - self._machine[1]) / wall_s), 3),
        )


def wait_for_quiet(foreign: float, limit_s: float) -> None:
    """Returns when others took at most `foreign` of a core for half a second, or after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        meter = NoiseMeter()
        time.sleep(min(0.5, limit_s))
        if (meter.read(server_cpu_s=0.0).foreign or 0.0) <= foreign:
            return


def _own_s() -> float:
    """CPU seconds of this process and of all its children that have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine_s() -> tuple[float, float] | None:
    """Busy and stolen CPU seconds of all cores since boot."""
    try:
        fields = _STAT.read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, steal / tick
