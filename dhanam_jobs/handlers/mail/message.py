"""Makes the message that travels: headers, text and HTML, attachments. Handing it to a server is delivery.py's."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

import msgspec

from dhanam_jobs.handlers.mail.address import Mailbox
from dhanam_jobs.handlers.mail.attachment import Attachment
from dhanam_jobs.handlers.mail.render import Rendered


class Message(msgspec.Struct, frozen=True):
    """A message as a mail server takes it.

    `message_id` is without angle brackets; `needs_utf8` says that an address isn't ASCII (RFC 6531).
    """

    message_id: str
    sender: str
    recipient: str
    content: bytes
    needs_utf8: bool


def message_id_of(source: str, sender: Mailbox) -> str:
    """The Message-ID for what `source` names: the same for every attempt, readable where the source allows it."""
    local = source
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", source) or len(source) > 120:
        local = hashlib.sha256(source.encode()).hexdigest()[:40]
    return f"{local}@{sender.domain}"


def compose(
    letter: Rendered,
    attachments: list[Attachment],
    *,
    sender: Mailbox,
    recipient: Mailbox,
    message_id: str,
    settings_url: str | None,
) -> Message:
    """Put a message together. `settings_url` is where the reader can stop such mail; None where that can't be."""
    needs_utf8 = not (sender.is_ascii() and recipient.is_ascii())
    form = policy.SMTPUTF8 if needs_utf8 else policy.SMTP
    message = EmailMessage(policy=form)
    message["From"] = sender.header()
    message["To"] = recipient.header()
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(dt.datetime.now(dt.UTC))
    message["Message-ID"] = f"<{message_id}>"
    # Keeps holiday notices from answering.
    message["Auto-Submitted"] = "auto-generated"
    if settings_url is not None:
        message["List-Unsubscribe"] = f"<{settings_url}>"
    # Not 8bit, which a server without 8BITMIME may refuse or spoil.
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    for attachment in attachments:
        main, sub = attachment.type_parts()
        message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.filename)
    return Message(message_id, sender.address, recipient.address, message.as_bytes(), needs_utf8)
