"""The mailer: one letter from its data to the server, by way of templates, composition and delivery.

Whether a letter may be sent at all (preferences, limits, sent before) is send_email.py's.
"""

from __future__ import annotations

from dhanam_jobs.handlers.mail.address import Mailbox
from dhanam_jobs.handlers.mail.attachment import Attachment
from dhanam_jobs.handlers.mail.catalog import Consent, Template
from dhanam_jobs.handlers.mail.delivery import Delivery
from dhanam_jobs.handlers.mail.letters import Letter
from dhanam_jobs.handlers.mail.message import Message, compose, message_id_of
from dhanam_jobs.handlers.mail.render import Letterhead, Reader, render


class Mailer:
    """Sends letters.

    Args:
        delivery: the way out.
        sender: what stands in From, and where refusals go.
        letterhead: what every letter says about its sender.
    """

    def __init__(self, delivery: Delivery, sender: Mailbox, letterhead: Letterhead | None = None) -> None:
        self._delivery = delivery
        self._sender = sender
        self.letterhead = letterhead or Letterhead()

    def message_id(self, source: str) -> str:
        """The Message-ID for what `source` names, without angle brackets."""
        return message_id_of(source, self._sender)

    def write(
        self,
        template: Template,
        letter: Letter,
        attachments: list[Attachment],
        *,
        recipient: Mailbox,
        reader: Reader,
        message_id: str,
    ) -> Message:
        """Write a message; nothing is sent."""
        settings_url = None
        if template.consent is not Consent.ESSENTIAL:
            settings_url = f"{self.letterhead.app_url.rstrip('/')}/settings/notifications"
        return compose(
            render(template, letter, self.letterhead, reader),
            attachments,
            sender=self._sender,
            recipient=recipient,
            message_id=message_id,
            settings_url=settings_url,
        )

    async def send(self, message: Message, attempt: int = 1) -> None:
        """Hand a message over. Errors as the delivery's."""
        await self._delivery.deliver(message, attempt)

    async def verify(self) -> None:
        """Raise what sending would, as far as that can be known without a message."""
        await self._delivery.verify()

    async def close(self) -> None:
        """Let go of connections; may be called twice."""
        await self._delivery.close()
