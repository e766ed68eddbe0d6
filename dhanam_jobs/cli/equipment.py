"""Makes what handlers work with out of the settings, and closes it after the workers have ended."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dhanam_jobs.cli.surroundings import fail

if TYPE_CHECKING:
    from dhanam_jobs.handlers.mail.mailer import Mailer
    from dhanam_jobs.handlers.resources import Resources
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.settings import Settings


async def equip(settings: Settings, store: Store, stack: contextlib.AsyncExitStack) -> Resources:
    """Return the handlers' resources; the stack closes them, the store apart."""
    from dhanam_jobs.handlers.resources import Resources

    mailer = make_mailer(settings)
    stack.push_async_callback(mailer.close)
    return Resources(store=store, mailer=mailer)


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
