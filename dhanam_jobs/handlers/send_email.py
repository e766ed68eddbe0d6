"""The job `send-email`: one letter to one person, unless they don't want it, have had it, or get too many.

What letters hold and how they look is mail/. A payload is checked when it is enqueued: an unknown template, data that
don't fill it in, a second recipient, or attachments that are too large never become a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec

from dhanam_jobs.engine import Discard, JobContext, Registry, RetryLater, Snooze
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.attachment import Attachment, check_attachments
from dhanam_jobs.handlers.mail.catalog import Consent, Template, Urgency, fill, template_of
from dhanam_jobs.handlers.mail.figures import language_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.mail.mailer import Mailer
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.emails import Recipient

JOB_NAME: Final = "send-email"
QUEUE_NAME: Final = "email-notifications"
HOURLY_LIMIT: Final = 20
"""Letters that one address gets within an hour; urgent ones are counted apart, so that others can't hold them back."""


class SendEmail(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A letter to be sent.

    Attributes:
        to: one address, with a name or without.
        template: one of `mail.TEMPLATES`.
        data: what fills the template in (mail/letters.py); `attachment` in it is one more attachment.
        priority: None: the template's.
        locale: of the letter; None: the recipient's own, Spanish for somebody without an account.
        attachments: files, base64 on the wire.
        key: what the letter is about ("weekly-summary/space/2026-W20"): letters of one key are sent once, also from
            different jobs, as long as deliveries are kept. None: the job itself is the key.
    """

    to: str
    template: str
    data: dict[str, Any] = {}
    priority: Urgency | None = None
    locale: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    attachments: list[Attachment] = []
    key: Annotated[str, msgspec.Meta(pattern=r"^[^\s\x00-\x1f\x7f]{1,200}$")] | None = None

    def __post_init__(self) -> None:
        # A ValueError here is the payload's refusal, wherever it is decoded.
        template = template_of(self.template)
        fill(template, self.data)
        read_address(self.to)
        check_attachments(self.files())

    def files(self) -> list[Attachment]:
        """All attachments, that of the data included."""
        embedded = self.data.get("attachment")
        return self.attachments + ([] if embedded is None else [msgspec.convert(embedded, Attachment)])

    @property
    def urgency(self) -> Urgency:
        """The priority given, or the template's; its `level` is the engine's."""
        return self.priority or template_of(self.template).urgency


class Sent(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """What came of a letter.

    `skipped` letters weren't sent; `reason` says why: preference, inactive (the account is closed), or duplicate (the
    message of that id was sent before). `messageId` is without angle brackets; None where none was made.
    """

    message_id: str | None
    template: str
    skipped: bool
    reason: str | None = None


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def mailer(self) -> Mailer: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time for each key."""
    registry.job(JOB_NAME, queue=QUEUE_NAME, unique=lambda payload: payload.key, accept=envelope_of(JOB_NAME))(
        send_email
    )


async def send_email(ctx: JobContext, payload: SendEmail) -> Sent:
    """Run the job.

    Its deliveries are noted in the store, before and after: a retry of a message that the server has taken sends
    nothing. Only a process that dies between the server's answer and the note sends again, under the same Message-ID.
    """
    resources: Resources = ctx.resources
    template = template_of(payload.template)
    recipient = read_address(payload.to)
    known = await resources.store.emails.recipient(recipient.address)
    if reason := _unwanted(template, known):
        return Sent(None, template.name, True, reason)

    job = ctx.job
    # With the time of its birth: an id of somebody's choosing may come again for another letter.
    source = payload.key or f"{job.id}.{job.created_ms}"
    message_id = resources.mailer.message_id(source)
    message = _write(resources.mailer, payload, template, known, message_id)
    urgent = payload.urgency is Urgency.HIGH
    begun = await resources.store.emails.begin(
        message_id, recipient.key, template.name, urgent=urgent, limit=HOURLY_LIMIT
    )
    if begun.sent_before:
        return Sent(message_id, template.name, True, "duplicate")
    if begun.wait_s is not None:
        raise Snooze(begun.wait_s)
    ctx.check_claim()
    try:
        await resources.mailer.send(message, ctx.attempt)
    except (Discard, RetryLater):
        # The server has said no: the message isn't out there, and doesn't count against the recipient's limit.
        await resources.store.emails.forget(message_id)
        raise
    await resources.store.emails.finish(message_id)
    return Sent(message_id, template.name, False)


def _unwanted(template: Template, known: Recipient | None) -> str | None:
    if known is None or template.consent is Consent.ESSENTIAL:
        return None
    if not known.is_active:
        return "inactive"
    wanted = (
        known.email_notifications
        and {
            Consent.NOTIFICATIONS: True,
            Consent.WEEKLY: known.weekly_reports,
            Consent.MONTHLY: known.monthly_reports,
        }[template.consent]
    )
    return None if wanted else "preference"


def _write(mailer: Mailer, payload: SendEmail, template: Template, known: Recipient | None, message_id: str) -> Any:
    # Templates take a moment to load, and only workers need them.
    from dhanam_jobs.handlers.mail.render import Reader

    locale = payload.locale or (known.locale if known else None)
    reader = Reader(language_of(locale), known.timezone) if known else Reader(language_of(locale))
    return mailer.write(
        template,
        fill(template, payload.data),
        payload.files(),
        recipient=read_address(payload.to),
        reader=reader,
        message_id=message_id,
    )
