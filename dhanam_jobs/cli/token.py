"""`token`: prints a JWT, and nothing else, on stdout."""

from __future__ import annotations

import click

from dhanam_jobs.cli.surroundings import fail, read_settings, run, store_of
from dhanam_jobs.settings import Settings


@click.command()
@click.option("--user", help="The user's id; default: the demo user.")
@click.option("--admin", is_flag=True, help="An admin: the demo admin, or --user, who must be one.")
@click.option("--demo", is_flag=True, help="A read-only token of the demo role.")
@click.option("--ttl", type=click.IntRange(min=1), help="Life in seconds; default 900, or 7200 with --demo.")
def token(user: str | None, admin: bool, demo: bool, ttl: int | None) -> None:
    """Print a token for the HTTP interface. In local mode only (AUTH_MODE): elsewhere the identity provider makes them.

    \b
    curl -H "Authorization: Bearer $(dhanam-jobs token --admin)" http://127.0.0.1:4300/admin/queues/stats
    """
    from dhanam_jobs.handlers.demo.people import DEMO_ADMIN_ID, DEMO_USER_ID
    from dhanam_jobs.http.tokens import TokenRules, make_token

    settings = read_settings(need_secrets=True)
    if settings.auth_mode != "local":
        fail(
            f"AUTH_MODE is {settings.auth_mode}, and tokens can be made in local mode only: here the identity provider "
            "behind JWKS_URL signs them, with the user's id in our store as their subject"
        )
    user_id = user or (DEMO_ADMIN_ID if admin else DEMO_USER_ID)
    email = run(lambda: _email(settings, user_id, admin))
    rules = TokenRules(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience)
    click.echo(make_token(rules, user_id, email, ttl_s=ttl, demo=demo))


async def _email(settings: Settings, user_id: str, admin: bool) -> str:
    async with store_of(settings) as store:
        found = await store.users.get(user_id)
    if found is None:
        fail(f"user {user_id!r} is not in the store; load one with `load`, or start with the demo data")
    if admin and not found.is_admin:
        fail(f"user {user_id!r} is no admin")
    if not found.is_active:
        fail(f"user {user_id!r} is inactive: a token for them is refused")
    return found.email
