"""Makes what handlers work with out of the settings, and closes it after the workers have ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dhanam_jobs.cli.surroundings import fail

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine
    from dhanam_jobs.handlers.mail.mailer import Mailer
    from dhanam_jobs.handlers.providers import Providers
    from dhanam_jobs.handlers.resources import Resources
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.token_cipher import TokenCipher
    from dhanam_jobs.http.auth import Tokens
    from dhanam_jobs.http.context import Check
    from dhanam_jobs.settings import Settings

log = logging.getLogger("dhanam_jobs.up")


async def equip(
    settings: Settings, store: Store, engine: Engine, stack: contextlib.AsyncExitStack, *, demo: bool = False
) -> Resources:
    """Return the handlers' resources; the stack closes them, the store apart. `demo` runs the sandbox inside."""
    from dhanam_jobs.handlers.resources import Resources

    mailer = make_mailer(settings)
    stack.push_async_callback(mailer.close)
    providers = await _open_providers(settings, store, engine, stack, demo=demo)
    return Resources(store=store, mailer=mailer, providers=providers, engine=engine)


async def _open_providers(
    settings: Settings, store: Store, engine: Engine, stack: contextlib.AsyncExitStack, *, demo: bool
) -> Providers:
    from dhanam_jobs.engine import processes
    from dhanam_jobs.handlers.providers import Endpoints, Providers
    from dhanam_jobs.handlers.sync_transactions import QUEUE_NAME

    cipher = make_cipher(settings)
    if cipher is not None and settings.encryption_key_previous:
        renewed = await store.provider_connections.renew_tokens(_renewing(cipher))
        log.info("%d connections have their tokens under the new ENCRYPTION_KEY", renewed)
    given = {
        "bitso": settings.bitso_url,
        "belvo": settings.belvo_url,
        "plaid": settings.plaid_url,
        "bitcoin": settings.btc_api_url,
        "prices": settings.prices_url,
        "esg": settings.esg_url,
        "rates": settings.rates_url,
    }
    # The demo works without a network: its sandbox answers for these too, unless an address is set.
    spared = ("esg", "rates") if demo else ()
    live = Endpoints(
        ethereum=settings.eth_rpc_url,
        belvo_secret_key_id=settings.belvo_secret_key_id,
        belvo_secret_key_password=settings.belvo_secret_key_password,
        plaid_client_id=settings.plaid_client_id,
        plaid_secret=settings.plaid_secret,
        **{name: url for name, url in given.items() if url is not None or name in spared},
    )
    sandbox = None
    if demo:
        from dhanam_jobs.handlers.sandbox.demo_world import demo_world
        from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox

        world = demo_world()
        url = await stack.enter_async_context(running_sandbox(world))
        sandbox = endpoints_at(url, world)
        log.info("the providers' sandbox answers for the demo at %s", url)

    async def fleet() -> int:
        return len(await processes(engine, [QUEUE_NAME]))

    return await stack.enter_async_context(
        Providers.open(store, cipher=cipher, live=live, sandbox=sandbox, processes=fleet)
    )


async def open_tokens(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[Tokens, dict[str, Check]]:
    """Return who judges tokens, as AUTH_MODE says, and what readiness asks of it; the stack closes it."""
    from dhanam_jobs.http.tokens import TokenRules

    if settings.jwks_url is None or settings.auth_mode != "jwks":
        return TokenRules(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience), {}
    import httpx2

    from dhanam_jobs.http.jwks import JwksRules, KeyRing

    client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
    keys = KeyRing(settings.jwks_url, client)
    stack.push_async_callback(keys.close)
    return JwksRules(keys, settings.jwt_issuer, settings.jwt_audience), {"keys": keys.check}


def make_cipher(settings: Settings) -> TokenCipher | None:
    """Return what opens and seals the providers' tokens; None where no ENCRYPTION_KEY is set."""
    from dhanam_jobs.handlers.token_cipher import TokenCipher

    if not settings.encryption_key:
        return None
    previous = [settings.encryption_key_previous] if settings.encryption_key_previous else []
    return TokenCipher(settings.encryption_key, previous)


def _renewing(cipher: TokenCipher) -> Callable[[str], str | None]:
    from dhanam_jobs.handlers.token_cipher import TokenError

    def renew(sealed: str) -> str | None:
        try:
            return cipher.rotate(sealed)
        except TokenError as error:
            # Its connection tells its owner; the others must not wait for it.
            log.warning("a connection's token stays as it is: %s", error)
            return None

    return renew


def make_mailer(settings: Settings) -> Mailer:
    """Return the mailer: to the SMTP server; without one into the data directory's `outbox` in embedded mode, and
    nowhere (each letter fails, and says why) otherwise. An EMAIL_FROM that is no address ends the program."""
    from dhanam_jobs.handlers.mail.address import BadAddress, read_address
    from dhanam_jobs.handlers.mail.delivery import Delivery, NoDelivery, Outbox, SmtpDelivery, SmtpServer
    from dhanam_jobs.handlers.mail.mailer import Mailer
    from dhanam_jobs.handlers.mail.render import Letterhead

    delivery: Delivery
    if settings.smtp_host is not None:
        delivery = SmtpDelivery(
            SmtpServer(
                host=settings.smtp_host,
                port=settings.smtp_port,
                secure=settings.smtp_secure,
                user=settings.smtp_user,
                password=settings.smtp_password,
            )
        )
    elif settings.embedded_mode:
        delivery = Outbox(settings.jobs_data_dir / "outbox")
    else:
        delivery = NoDelivery()
    try:
        sender = read_address(settings.email_from)
    except BadAddress as error:
        fail(f"EMAIL_FROM: {error}")
    return Mailer(delivery, sender, Letterhead(app_url=settings.app_url, support_email=settings.support_email))
