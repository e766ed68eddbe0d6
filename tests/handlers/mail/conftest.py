"""Gives tests a real SMTP server on loopback, with STARTTLS and accounts."""

from __future__ import annotations

import asyncio
import datetime as dt
import email
import email.message
import email.policy
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dhanam_jobs.handlers.mail.delivery import SmtpServer

USER, PASSWORD = "dhanam", "a password, not this one's"
Answer = Callable[[str], str | None]


@dataclass
class MailServer:
    """A running server and what it has taken.

    `on_rcpt` and `on_data` are given the recipient and return the server's answer, or None for its usual one.
    """

    port: int
    trusted: ssl.SSLContext
    messages: list[email.message.EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    sessions: set[Any] = field(default_factory=set)
    encrypted: list[bool] = field(default_factory=list)
    on_rcpt: Answer = lambda _: None
    on_data: Answer = lambda _: None

    def address(self, **changes: Any) -> SmtpServer:
        """Where and as whom mail is handed in here."""
        return SmtpServer(**{"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, **changes})

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes a recipient, or answers as told."""
        answer = self.on_rcpt(address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Takes a message, or answers as told."""
        answer = self.on_data(envelope.rcpt_tos[0])
        if answer is not None:
            return answer
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.messages.append(message)
        self.envelopes.append(envelope)
        self.sessions.add(session.peer)
        self.encrypted.append(session.ssl is not None)
        return "250 taken"


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=good, message=None if good else "535 5.7.8 wrong password")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a mail server of the tests")])
    now = dt.datetime.now(dt.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("smtp") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, plain) + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
async def mail_server(certificate: Path) -> AsyncIterator[MailServer]:
    """A server that takes mail only after STARTTLS and a login."""
    async with _running(certificate) as server:
        yield server


@pytest.fixture
async def bare_server(certificate: Path) -> AsyncIterator[MailServer]:
    """A server without STARTTLS, which offers a login in the clear."""
    async with _running(certificate, starttls=False) as server:
        yield server


class _running:  # noqa: N801 - used as a function
    def __init__(self, certificate: Path, *, starttls: bool = True) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._starttls = starttls
        self._server = MailServer(0, ssl.create_default_context(cafile=str(certificate)))

    async def __aenter__(self) -> MailServer:
        def protocol() -> SMTP:
            return SMTP(
                self._server,
                hostname="mail.example.test",
                ident="tests",
                enable_SMTPUTF8=True,
                data_size_limit=2_000_000,
                tls_context=self._tls if self._starttls else None,
                require_starttls=self._starttls,
                auth_required=self._starttls,
                auth_require_tls=self._starttls,
                authenticator=_authenticate,
                loop=asyncio.get_running_loop(),
            )

        self._listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        self._server.port = self._listener.sockets[0].getsockname()[1]
        return self._server

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._listener.wait_closed()
