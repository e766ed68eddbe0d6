"""Proves that register.lua makes a row once."""

from __future__ import annotations

import pytest

from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_a_new_name_gets_a_row_and_a_lease(ground: Ground) -> None:
    """The lease counts from the script's time; the first call number is 1."""
    assert await ground.register() == 1
    assert int(await ground.command("ZSCORE", ground.key("workers"), "ana")) == ground.now
    row = await ground.command("HMGET", ground.key("worker:ana"), "call", "verdicts", "about")
    assert row == [b"0", b"", b"{}"]


async def test_a_taken_name_is_refused(ground: Ground) -> None:
    """The row of the other stays as it is."""
    await ground.register()
    ground.now += 5
    assert await ground.register() == 0
    assert int(await ground.command("ZSCORE", ground.key("workers"), "ana")) == ground.now - 5


async def test_a_wrong_type_registers_nobody(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """The list of workers is written first."""
    await refused_unchanged("workers", ground.register)


async def test_a_strangers_key_of_that_name_counts_as_taken(ground: Ground, damage: object) -> None:
    """Whatever its type."""
    await ground.plant("worker:ana")
    assert await ground.register() == 0


@pytest.mark.parametrize("name", ["ana", "ben-1"])
async def test_a_full_server_still_registers(own_ground: Ground, name: str) -> None:
    """A worker must be able to come and empty it."""
    await own_ground.fill()
    assert await own_ground.register(name) == 1
