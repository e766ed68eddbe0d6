"""A Redis Cluster of a test's own: three masters with a replica each, on loopback.

They are joined by commands alone, since a machine with only the bundled server has no `redis-cli --cluster`.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

MASTERS = 3
SLOTS = 16_384


class Node:
    """One server process of the cluster."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self.bus_port = _free_port()
        self._binary = binary
        self.client = redis.Redis(port=self.port, protocol=2)
        self.id = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process and returns when it answers."""
        self.directory.mkdir(exist_ok=True)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            "save": "",
            "appendonly": "yes",
            "cluster-enabled": "yes",
            "cluster-port": self.bus_port,
            "cluster-node-timeout": 1000,
            "cluster-replica-validity-factor": 0,
            "repl-diskless-sync-delay": 0,
            "repl-ping-replica-period": 1,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, *words], stdout=log, stderr=subprocess.STDOUT)
        until(self._answers, f"the server on port {self.port} answers")
        self.id = str(self.command("CLUSTER", "MYID").decode())

    def command(self, *words: Any) -> Any:
        """One command's raw reply."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def kill(self) -> None:
        """Ends the process as a power cut would; may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @property
    def lives(self) -> bool:
        """True while the process was not killed."""
        return self._process is not None

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.RedisError:
            return False


class Cluster:
    """Three masters, nodes 0 to 2, with the replicas 3 to 5."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.nodes = [Node(directory / str(number), binary) for number in range(2 * MASTERS)]
        self.masters, self.replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]

    @property
    def url(self) -> str:
        """Any server stands for all."""
        return f"redis://127.0.0.1:{self.nodes[0].port}"

    def start(self) -> None:
        """Starts and joins the servers; returns when every slot is served and every replica follows its master."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.masters):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        until(lambda: all(self._knows_all(node) for node in self.nodes), "all servers know each other")
        for master, replica in zip(self.masters, self.replicas, strict=True):
            replica.command("CLUSTER", "REPLICATE", master.id)
        until(self._is_whole, "the cluster is whole")

    def _knows_all(self, node: Node) -> bool:
        return int(_info(node)["cluster_known_nodes"]) == len(self.nodes)

    def _is_whole(self) -> bool:
        states = [_info(node)["cluster_state"] for node in self.nodes]
        links = [node.client.info("replication").get("master_link_status") for node in self.replicas]
        return set(states) == {"ok"} and all(link == "up" for link in links)

    def holder(self, key: str) -> Node:
        """The living master that holds a key's slot."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            if node.lives:
                for first, last, master, *_ in node.command("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(one for one in self.nodes if one.port == master[1])
        raise AssertionError(f"nobody holds slot {slot}")

    def move(self, key: str, to: Node, between: Any = None) -> None:
        """Moves the slot of a key with all its keys, as `redis-cli --cluster reshard` does; `between` is called when
        the half of them have gone."""
        slot, source = key_slot(key.encode()), self.holder(key)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        half = source.command("CLUSTER", "COUNTKEYSINSLOT", slot) // 2
        gone = 0
        while names := source.command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.command("MIGRATE", "127.0.0.1", to.port, names[0], 0, 5000)
            gone += 1
            if between is not None and gone == half:
                between()
        for node in (to, source, *self.masters):
            if node.lives:
                node.command("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def end(self) -> None:
        """Ends all processes."""
        for node in self.nodes:
            node.kill()
            node.client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _info(node: Node) -> dict[str, str]:
    text = node.command("CLUSTER", "INFO").decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if line)


def until(predicate: Any, what: str, timeout: float = 30.0) -> None:
    """Returns when the predicate holds; fails by name."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}")
        time.sleep(0.02)
