"""Mail: what letters hold, how they look, and how they leave. The job that sends one is send_email.py's."""

from dhanam_jobs.handlers.mail.address import BadAddress, Mailbox, read_address
from dhanam_jobs.handlers.mail.attachment import Attachment, BadAttachment
from dhanam_jobs.handlers.mail.catalog import TEMPLATES, BadLetter, Consent, Template, UnknownTemplate, Urgency

__all__ = [
    "TEMPLATES",
    "Attachment",
    "BadAddress",
    "BadAttachment",
    "BadLetter",
    "Consent",
    "Mailbox",
    "Template",
    "UnknownTemplate",
    "Urgency",
    "read_address",
]
