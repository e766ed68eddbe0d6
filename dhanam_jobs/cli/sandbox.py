"""`sandbox`: the providers' stand-ins as a server of their own, with the demo's world."""

from __future__ import annotations

import asyncio
import signal

import click

from dhanam_jobs.cli.surroundings import fail


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=4380, show_default=True, help="0 takes a free one.")
def sandbox(host: str, port: int) -> None:
    """Serve Bitso, Belvo, Plaid, Ethereum, Bitcoin, coin prices, ESG scores and exchange rates, invented, until Ctrl-C.

    Prints the variables that lead the service to it. GET /_sandbox/asked tells what it was asked, POST
    /_sandbox/faults makes it fail.

    \b
    dhanam-jobs sandbox --port 4380
    """
    try:
        asyncio.run(_serve(host, port))
    except OSError as error:
        fail(f"{host}:{port}: {error.strerror or error}")


async def _serve(host: str, port: int) -> None:
    from dhanam_jobs.handlers.sandbox.demo_world import demo_world
    from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox

    world = demo_world()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with running_sandbox(world, host=host, port=port) as url:
        at = endpoints_at(url, world)
        variables = {
            "BITSO_URL": at.bitso,
            "BELVO_URL": at.belvo,
            "BELVO_SECRET_KEY_ID": at.belvo_secret_key_id,
            "BELVO_SECRET_KEY_PASSWORD": at.belvo_secret_key_password,
            "PLAID_URL": at.plaid,
            "PLAID_CLIENT_ID": at.plaid_client_id,
            "PLAID_SECRET": at.plaid_secret,
            "ETH_RPC_URL": at.ethereum,
            "BTC_API_URL": at.bitcoin,
            "PRICES_URL": at.prices,
            "ESG_URL": at.esg,
            "RATES_URL": at.rates,
        }
        click.echo("\n".join(f"{name}={value}" for name, value in variables.items()))
        await ending.wait()
