"""Handing messages over: to a real server with STARTTLS and a login, and to a folder."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.handlers.mail import delivery as delivery_module
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.attachment import Attachment
from dhanam_jobs.handlers.mail.catalog import fill, template_of
from dhanam_jobs.handlers.mail.delivery import (
    MailDelayed,
    MailNotConfigured,
    MailRefused,
    MailUnreachable,
    NoDelivery,
    Outbox,
    SmtpDelivery,
    SmtpServer,
)
from dhanam_jobs.handlers.mail.mailer import Mailer
from dhanam_jobs.handlers.mail.message import Message, message_id_of
from dhanam_jobs.handlers.mail.render import Reader

if TYPE_CHECKING:
    from tests.handlers.mail.conftest import MailServer

SENDER = read_address("Dhanam <noreply@dhanam.test>")


def _message(
    to: str = "José Núñez <jose@example.test>", key: str = "1", attachments: list[Attachment] | None = None
) -> Message:
    template = template_of("welcome")
    return Mailer(NoDelivery(), SENDER).write(
        template,
        fill(template, {"name": "José"}),
        attachments or [],
        recipient=read_address(to),
        reader=Reader(),
        message_id=message_id_of(key, SENDER),
    )


async def test_a_message_arrives_whole_over_starttls_and_login(mail_server: MailServer) -> None:
    """Names, both bodies and the attachment, as they were written."""
    file = Attachment("informe de año.csv", "año;total\n1;2\n".encode(), "text/csv")
    way = SmtpDelivery(mail_server.address(), mail_server.trusted)
    await way.deliver(_message(attachments=[file]), 1)
    await way.close()

    (message,) = mail_server.messages
    assert mail_server.encrypted == [True]
    assert mail_server.envelopes[0].mail_from == "noreply@dhanam.test"
    assert str(message["From"]) == "Dhanam <noreply@dhanam.test>"
    assert message["To"].addresses[0].display_name == "José Núñez"
    assert message["Subject"] == "Te damos la bienvenida a Dhanam"
    assert message["Message-ID"] == "<1@dhanam.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    text, page = message.get_body(["plain"]), message.get_body(["html"])
    assert text is not None
    assert "Hola, José:" in text.get_content()
    assert page is not None
    assert "Hola, José:" in page.get_content()
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "informe de año.csv"
    assert attached.get_content_type() == "text/csv"
    assert attached.get_payload(decode=True) == file.content


async def test_a_connection_is_used_again(mail_server: MailServer) -> None:
    """One handshake for several messages; one that the server has closed meanwhile is replaced."""
    way = SmtpDelivery(mail_server.address(), mail_server.trusted)
    await way.deliver(_message(key="1"), 1)
    await way.deliver(_message(key="2"), 1)
    assert len(mail_server.sessions) == 1

    way._idle[0][1].close()
    await way.deliver(_message(key="3"), 1)
    await way.close()
    assert len(mail_server.sessions) == 2
    assert [m["Message-ID"] for m in mail_server.messages] == [f"<{n}@dhanam.test>" for n in "123"]


async def test_an_address_in_unicode_is_sent_where_the_server_takes_it(mail_server: MailServer) -> None:
    """The domain travels in ASCII, the local part as it is."""
    way = SmtpDelivery(mail_server.address(), mail_server.trusted)
    await way.deliver(_message("Ñandú <ñandú@muñoz.test>"), 1)
    await way.close()

    assert mail_server.envelopes[0].rcpt_tos == ["ñandú@xn--muoz-hqa.test"]
    assert "ñandú" in str(mail_server.messages[0]["To"])


async def test_a_wrong_password_is_final_and_not_shown(mail_server: MailServer) -> None:
    """No later attempt would find another password."""
    way = SmtpDelivery(mail_server.address(password="nonsense"), mail_server.trusted)

    with pytest.raises(MailRefused, match="535") as caught:
        await way.deliver(_message(), 1)
    assert "nonsense" not in str(caught.value)
    assert "nonsense" not in repr(mail_server.address(password="nonsense"))
    with pytest.raises(MailRefused):
        await way.verify()


async def test_a_certificate_that_nobody_trusts_ends_the_connection(mail_server: MailServer) -> None:
    """A server in between that shows its own gets neither password nor letter."""
    way = SmtpDelivery(mail_server.address(), ssl.create_default_context())

    with pytest.raises(MailUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await way.deliver(_message(), 1)
    assert mail_server.messages == []


async def test_a_password_is_never_sent_in_the_clear(bare_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the server is this machine, a login needs TLS."""
    way = SmtpDelivery(bare_server.address(), bare_server.trusted)
    await way.deliver(_message(), 1)
    await way.close()
    assert bare_server.encrypted == [False]

    monkeypatch.setattr(SmtpServer, "is_local", False)
    with pytest.raises(MailRefused, match="offers no STARTTLS"):
        await SmtpDelivery(bare_server.address(), bare_server.trusted).deliver(_message(), 1)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 60), (2, 300), (9, 300)])
async def test_a_server_that_asks_for_patience_gets_it(mail_server: MailServer, attempt: int, delay: float) -> None:
    """Greylisting: minutes, not the seconds of the queue's back-off."""
    mail_server.on_rcpt = lambda _: "450 4.2.0 greylisted"
    way = SmtpDelivery(mail_server.address(), mail_server.trusted)

    with pytest.raises(MailDelayed, match=r"450 4\.2\.0 greylisted") as caught:
        await way.deliver(_message(), attempt)
    assert caught.value.delay == delay


@pytest.mark.parametrize("stage", ["on_rcpt", "on_data"])
async def test_a_refusal_is_final(mail_server: MailServer, stage: str) -> None:
    """B19: no such mailbox, or a message that isn't wanted, is not tried again."""
    setattr(mail_server, stage, lambda _: "550 5.1.1 no such mailbox")
    way = SmtpDelivery(mail_server.address(), mail_server.trusted)

    with pytest.raises(MailRefused, match=r"550 5\.1\.1 no such mailbox"):
        await way.deliver(_message(), 1)


async def test_a_server_that_is_away_is_tried_again(mail_server: MailServer) -> None:
    """Neither final nor a wait of our own: the queue's back-off applies."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        way = SmtpDelivery(mail_server.address(port=port), mail_server.trusted)
        with pytest.raises(MailUnreachable, match=rf"SmtpServer\(127.0.0.1:{port}\)"):
            await way.deliver(_message(), 1)


async def test_the_outbox_holds_a_message_once_and_for_its_owner(tmp_path: Path) -> None:
    """A retry replaces the file, and odd ids make no odd paths."""
    box = Outbox(tmp_path / "outbox")
    await box.verify()
    await box.deliver(_message(key="a.1"), 1)
    await box.deliver(_message(key="a.1"), 2)
    await box.deliver(_message(key="../../etc/passwd"), 1)
    await box.close()

    names = sorted(path.name for path in (tmp_path / "outbox").iterdir())
    assert len(names) == 2
    assert "a.1.eml" in names
    file = tmp_path / "outbox" / "a.1.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"Te damos la bienvenida" in file.read_bytes()


async def test_the_outbox_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(delivery_module, "OUTBOX_FILES", 3)
    box = Outbox(tmp_path)
    for number in range(5):
        await box.deliver(_message(key=f"m{number}"), 1)
        (tmp_path / f"m{number}.eml").touch()

    assert sorted(name.removesuffix(".eml") for name in os.listdir(tmp_path)) == ["m2", "m3", "m4"]


async def test_without_a_way_out_mail_fails_for_good_and_says_why() -> None:
    """The missing setting is named."""
    with pytest.raises(MailNotConfigured, match="SMTP_HOST: not set"):
        await NoDelivery().deliver(_message(), 1)
