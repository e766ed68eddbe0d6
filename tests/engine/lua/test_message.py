"""Proves that message.lua reaches living workers alone, and that an inbox is bounded."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_a_living_workers_inbox_keeps_messages_in_order(ground: Ground) -> None:
    """As they were given."""
    await ground.register()
    for text in ('{"n":1}', '{"n":2}'):
        assert await ground.run(scripts.MESSAGE, "ana", text) == 1
    assert await ground.command("LRANGE", ground.key("inbox:ana"), 0, -1) == [b'{"n":1}', b'{"n":2}']
    await ground.command("DEL", ground.key("inbox:ana"))


async def test_nobody_keeps_a_message_for_a_worker_that_is_not_there(ground: Ground) -> None:
    """No key is made."""
    assert await ground.run(scripts.MESSAGE, "nobody", "{}") == 0
    assert await ground.command("DBSIZE") == 0


async def test_an_inbox_that_nobody_reads_keeps_the_newest_thousand(ground: Ground) -> None:
    """A stuck worker costs no more."""
    await ground.register()
    for n in range(1003):
        await ground.run(scripts.MESSAGE, "ana", n)
    kept = await ground.command("LRANGE", ground.key("inbox:ana"), 0, -1)
    assert (len(kept), kept[0], kept[-1]) == (1000, b"3", b"1002")
    await ground.command("DEL", ground.key("inbox:ana"))


@pytest.mark.parametrize("name", ["workers", "inbox:ana"])
async def test_a_wrong_type_stores_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The sender is told."""
    await ground.register()
    await refused_unchanged(name, lambda: ground.run(scripts.MESSAGE, "ana", "{}"))


async def test_a_full_server_refuses_a_message(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """The sender is told."""
    await own_ground.register()
    await full_unchanged(lambda: own_ground.run(scripts.MESSAGE, "ana", "{}"))
