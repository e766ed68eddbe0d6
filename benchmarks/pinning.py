"""Which core each process gets: Redis the first, workers and producers the second.

Without `taskset` or a second core nothing is pinned, and the report says so.
"""

import os
import shutil

import msgspec


class Pinning(msgspec.Struct, frozen=True):
    """The cores in use; both None where nothing is pinned."""

    server_core: int | None = None
    client_core: int | None = None

    @staticmethod
    def detect() -> "Pinning":
        """Takes the first two cores that this process may use."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) < 2 or shutil.which("taskset") is None:
            return Pinning()
        return Pinning(server_core=cores[0], client_core=cores[1])

    def for_server(self) -> list[str]:
        """The words before the command of Redis."""
        return _taskset(self.server_core)

    def for_client(self) -> list[str]:
        """The words before the command of a worker or producer."""
        return _taskset(self.client_core)


def _taskset(core: int | None) -> list[str]:
    return [] if core is None else ["taskset", "-c", str(core)]
