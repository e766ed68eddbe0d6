"""Which server holds which keys: one holds all, or each master of a Redis Cluster those of some of the 16,384 slots.

Nothing is asked beforehand: a server that doesn't hold a key says who does (`MOVED`), and one that is gone is left for
the next that is known, which then says the same. A queue whose slot is just being moved to another server (`ASK`) is
treated as out of reach until it has arrived: a script would find one half of its keys here and the other there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import MovedError

Address = tuple[str, int]
"""Host and port."""
MOST_MOVES = 8
"""Redirections that one call follows."""


class Routes:
    """The servers known so far, and who holds which slot. One per process and URL; threads may share it.

    `home` is the address in the URL, None for a unix socket.
    """

    def __init__(self, home: Address | None) -> None:
        self.home = home
        self.clustered = False
        self._known: list[Address] = [] if home is None else [home]
        self._slots: dict[int, Address] = {}

    def of(self, key: str | bytes | int) -> Address | None:
        """Whom to ask for a key; the home where nobody said anything else."""
        if not self._slots:
            return self.home
        return self._slots.get(_slot_of(key), self.home)

    def moved(self, error: MovedError, asked: Address | None) -> Address:
        """Notes where a slot is, as `asked` said; returns the address. One without a host is on the same host."""
        host = error.host or (asked or self.home or ("127.0.0.1", 0))[0]
        address = (host, error.port)
        self.clustered = True
        self._slots[error.slot_id] = address
        self._note(address)
        return address

    def after(self, address: Address | None) -> Address | None:
        """Whom to ask when a server doesn't answer: the next one known, round and round."""
        known = self._known
        if not self.clustered or address is None or len(known) < 2:
            return self.home
        return known[(known.index(address) + 1) % len(known)] if address in known else known[0]

    def left(self, key: str | bytes | int, address: Address | None) -> None:
        """Notes that whoever was asked for a key doesn't answer."""
        if self.clustered and (following := self.after(address)) is not None:
            self._slots[_slot_of(key)] = following

    def learn(self, ranges: Sequence[Any]) -> None:
        """Takes the raw reply of `CLUSTER SLOTS`: [first, last, master, replica, …] each, a server [host, port, …]."""
        self.clustered = True
        home = self.home or ("127.0.0.1", 0)
        for first, last, *servers in ranges:
            addresses = [(_text(server[0]) or home[0], int(server[1])) for server in servers]
            for address in addresses:
                self._note(address)
            self._slots.update(dict.fromkeys(range(int(first), int(last) + 1), addresses[0]))

    def _note(self, address: Address) -> None:
        if address not in self._known:
            self._known.append(address)


def _slot_of(key: str | bytes | int) -> int:
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def _text(host: bytes | str | None) -> str:
    if host is None:
        return ""
    return host.decode() if isinstance(host, bytes) else host
