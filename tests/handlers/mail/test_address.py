"""Addresses and attachments: what is taken, and what is refused before it can become a header."""

from __future__ import annotations

import pytest

from dhanam_jobs.handlers.mail.address import BadAddress, read_address
from dhanam_jobs.handlers.mail.attachment import MAX_BYTES, Attachment, BadAttachment, check_attachments


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("ana@example.test", "ana@example.test", ""),
        (" ana.b+c@Example.Test ", "ana.b+c@example.test", ""),
        ("Ana Núñez <ana@example.test>", "ana@example.test", "Ana Núñez"),
        ('"Núñez, Ana" <ana@example.test>', "ana@example.test", "Núñez, Ana"),
        ("ana@muñoz.mx", "ana@xn--muoz-hqa.mx", ""),
        ("ñandú@example.test", "ñandú@example.test", ""),
        ("o'neil@localhost", "o'neil@localhost", ""),
    ],
)
def test_one_address_is_read_with_its_name(text: str, address: str, name: str) -> None:
    """In capitals or not, in ASCII or not."""
    mailbox = read_address(text)

    assert (mailbox.address, mailbox.name) == (address, name)
    assert mailbox.key == address.casefold()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "ana@",
        "@example.test",
        "ana@example.test, eve@example.test",
        "ana@example.test;eve@example.test",
        "ana@example.test\nBcc: eve@example.test",
        "Ana\r\nBcc: eve@example.test <ana@example.test>",
        "Ana\u2028 <ana@example.test>",
        "Ana <ana@example.test> <eve@example.test>",
        "ana b@example.test",
        "a..b@example.test",
        ".ana@example.test",
        "ana@-example.test",
        "ana@exa_mple.test",
        "ana@example..test",
        f"{'a' * 65}@example.test",
        f"ana@{'a' * 64}.test",
        "a" * 400 + "@example.test",
        "ana@[127.0.0.1]",
        "ana@example.test\x00",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    """No second recipient, no header, nothing that a server would choke on."""
    with pytest.raises(BadAddress):
        read_address(text)


@pytest.mark.parametrize(
    "attachment",
    [
        Attachment("", b"x"),
        Attachment("a" * 201, b"x"),
        Attachment("../x.csv", b"x"),
        Attachment("a\\b.csv", b"x"),
        Attachment("a.csv\r\nX: y", b"x"),
        Attachment("gpj.\u202ecsv", b"x"),
        Attachment("..", b"x"),
        Attachment("a.eml", b"x", "message/rfc822"),
        Attachment("a", b"x", "multipart/mixed"),
        Attachment("a.csv", b"x", "text/csv; charset=utf-8\r\nX: y"),
        Attachment("a.csv", b"x", "text"),
        Attachment("a.bin", b"x" * (MAX_BYTES + 1)),
    ],
)
def test_an_attachment_that_could_harm_is_refused(attachment: Attachment) -> None:
    """Paths, headers, whole messages, disguised endings and sheer size."""
    with pytest.raises(BadAttachment):
        check_attachments([attachment])


def test_the_size_counts_over_all_attachments() -> None:
    """Two halves fit, and a byte more doesn't; nor do eleven of nothing."""
    half = Attachment("a.bin", b"x" * (MAX_BYTES // 2))
    check_attachments([half, half])
    with pytest.raises(BadAttachment, match=f"wanted at most {MAX_BYTES} together"):
        check_attachments([half, half, Attachment("b", b"x")])
    with pytest.raises(BadAttachment, match="found 11, wanted at most 10"):
        check_attachments([Attachment(f"{n}", b"") for n in range(11)])
