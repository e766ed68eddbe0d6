"""What befalls a queue from outside: time passes, the server is killed and comes back, its scripts are forgotten."""

from __future__ import annotations

from random import Random

from tests.model.field import Field, Verb


async def time_passes(field: Field, rng: Random) -> None:
    """From a millisecond to longer than any lease, delay or outage."""
    milliseconds = rng.choice([1, 1_000, 5_000, 30_000, 60_000, 101_000, 400_000])
    field.tell(f"{milliseconds} ms pass")
    field.advance(milliseconds)


async def forget_scripts(field: Field, rng: Random) -> None:
    """SCRIPT FLUSH, as an operator or a fail-over does it."""
    field.tell("the scripts are forgotten")
    await field.client.script_flush()


async def restart(field: Field, rng: Random) -> None:
    """The server is killed, and reads its append-only file."""
    if rng.random() < 0.7:
        return
    field.tell("the server is killed and comes back")
    field.server.kill()
    for client in (field.client, field.engine.redis):
        await client.connection_pool.disconnect()
    field.server.start()


VERBS: dict[Verb, int] = {time_passes: 12, forget_scripts: 1, restart: 1}
