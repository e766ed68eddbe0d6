"""Attachments: what may travel with a letter, and how much of it."""

from __future__ import annotations

import re

import msgspec

MAX_ATTACHMENTS = 10
MAX_BYTES = 700_000
"""All attachments of a letter together, decoded. In base64 that is what fits into a job's payload."""

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\Z")
_UNFIT_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069/\\]")


class BadAttachment(ValueError):
    """An attachment that isn't sent; the text says why."""


class Attachment(msgspec.Struct, rename="camel", frozen=True, forbid_unknown_fields=True):
    """A file: `content` is base64 on the wire; `content_type` None is application/octet-stream."""

    filename: str
    content: bytes
    content_type: str | None = None

    def type_parts(self) -> tuple[str, str]:
        """Main and sub type, in lower case."""
        main, _, sub = (self.content_type or "application/octet-stream").lower().partition("/")
        return main, sub


def check_attachments(attachments: list[Attachment]) -> None:
    """Raise BadAttachment unless all of them may be sent together."""
    if len(attachments) > MAX_ATTACHMENTS:
        raise BadAttachment(f"attachments: found {len(attachments)}, wanted at most {MAX_ATTACHMENTS}")
    total = sum(len(attachment.content) for attachment in attachments)
    if total > MAX_BYTES:
        raise BadAttachment(f"attachments: found {total} bytes, wanted at most {MAX_BYTES} together")
    for attachment in attachments:
        name = attachment.filename
        if not 1 <= len(name) <= 200 or _UNFIT_NAME.search(name) or name.strip(". ") == "":
            raise BadAttachment(
                f"attachment {name[:200]!r}: wanted a file name of 1 to 200 characters without a path or control "
                "characters"
            )
        kind = "/".join(attachment.type_parts())
        # A part that is itself a message could carry headers of its own.
        if not _TYPE.match(kind) or kind.startswith(("multipart/", "message/")):
            raise BadAttachment(f"attachment {name!r}: found content type {kind[:120]!r}, wanted one such as text/csv")
