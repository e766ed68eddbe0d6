"""The ways a message leaves: an SMTP server, a folder of .eml files, or not at all. What is in it is message.py's.

Errors say what to do next: MailRefused and MailNotConfigured are final, MailDelayed names the wait, MailUnreachable is
retried as the queue does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import ssl
import time
from pathlib import Path
from typing import Final, Protocol

import aiosmtplib
import msgspec

from dhanam_jobs.engine import Discard, RetryLater
from dhanam_jobs.handlers.mail.message import Message

TIMEOUT_S: Final = 30.0
"""How long the server may take for one answer."""
IDLE_S: Final = 20.0
"""How long a connection is kept for the next message."""
OUTBOX_FILES: Final = 1000
"""Messages that the outbox folder keeps; the oldest go first."""
_DELAYS_S: Final = (60.0, 300.0)


class MailRefused(Discard):
    """The server refuses this message, or us, for good; the text holds its answer."""


class MailNotConfigured(Discard):
    """There is no way out for mail."""


class MailDelayed(RetryLater):
    """The server asks to come again later (greylisting, a full mailbox, too many messages)."""


class MailUnreachable(Exception):
    """The server doesn't answer, or not in a way that can be trusted."""


class Delivery(Protocol):
    """A way out for messages."""

    async def deliver(self, message: Message, attempt: int) -> None:
        """Hand a message over; `attempt` counts from 1. Returns when somebody else answers for it."""
        ...

    async def verify(self) -> None:
        """Raise what `deliver` would, as far as that can be known without a message."""
        ...

    async def close(self) -> None:
        """Let go of connections; may be called twice."""
        ...


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed in.

    `secure`: TLS from the first byte (port 465). Otherwise STARTTLS is used where the server offers it, and a password
    is never sent without it, except to this machine.
    """

    host: str
    port: int = 587
    secure: bool = False
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port})"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class SmtpDelivery:
    """Hands messages to an SMTP server.

    Args:
        server: where, and as whom.
        tls: the certificates trusted; None trusts the system's (OpenSSL's SSL_CERT_FILE included).
    """

    def __init__(self, server: SmtpServer, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._tls = tls
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []

    async def deliver(self, message: Message, attempt: int) -> None:
        """Hand a message over.

        Raises MailRefused, MailDelayed (a minute, then five) or MailUnreachable.
        """
        client = None
        try:
            client = await self._connected()
            if message.needs_utf8 and not client.supports_extension("smtputf8"):
                raise MailRefused(f"address {message.recipient!r}: {self._server!r} takes ASCII addresses only")
            options = ["SMTPUTF8"] if message.needs_utf8 else []
            await client.sendmail(message.sender, [message.recipient], message.content, mail_options=options)
        except Exception as error:
            if client is not None:
                client.close()
            raise self._verdict(error, attempt) from error
        except BaseException:
            if client is not None:
                client.close()
            raise
        self._idle.append((time.monotonic(), client))

    async def verify(self) -> None:
        """Connect and log in, as a delivery would. Raises as `deliver` does."""
        try:
            client = await self._connected()
        except Exception as error:
            raise self._verdict(error, 1) from error
        self._idle.append((time.monotonic(), client))

    async def close(self) -> None:
        """Take leave of the server."""
        while self._idle:
            _, client = self._idle.pop()
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, asyncio.TimeoutError):
                await client.quit(timeout=2)
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            since, client = self._idle.pop()
            if time.monotonic() - since < IDLE_S:
                with contextlib.suppress(aiosmtplib.SMTPException, OSError, asyncio.TimeoutError):
                    # Servers hang up on the idle without a word; only an answer shows that this one didn't.
                    if (await client.noop(timeout=5)).code == 250:
                        return client
            client.close()
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.secure,
            start_tls=False if server.secure else None,
            timeout=TIMEOUT_S,
            tls_context=self._tls,
        )
        try:
            await client.connect()
            if server.user is not None and server.password is not None:
                if client.get_transport_info("ssl_object") is None and not server.is_local:
                    raise MailRefused(
                        f"{server!r} offers no STARTTLS: wanted an encrypted connection before a password is sent"
                    )
                await client.login(server.user, server.password)
        except BaseException:
            client.close()
            raise
        return client

    def _verdict(self, error: Exception, attempt: int) -> Exception:
        if isinstance(error, (MailRefused, MailUnreachable)):
            return error
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
            error = error.recipients[0]
        if isinstance(error, aiosmtplib.SMTPNotSupported):
            return MailRefused(f"{self._server!r}: {error.message}")
        if isinstance(error, aiosmtplib.SMTPResponseException):
            text = f"{self._server!r} answered {error.code} {one_line(error.message)}"
            if 400 <= error.code < 500:
                return MailDelayed(_DELAYS_S[min(attempt, len(_DELAYS_S)) - 1], text)
            if 500 <= error.code < 600:
                return MailRefused(text)
            return MailUnreachable(text)
        if isinstance(error, (aiosmtplib.SMTPException, OSError, asyncio.TimeoutError)):
            return MailUnreachable(f"{self._server!r}: {type(error).__name__}: {error}")
        return error


class Outbox:
    """A folder that takes messages instead of a server: one .eml file each, open to its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, message: Message, attempt: int) -> None:
        """Write a message, whole or not at all; one that is there is replaced. Raises OSError."""
        await asyncio.to_thread(self._write, message)

    async def verify(self) -> None:
        """Raise OSError unless the folder is there or can be made."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, message: Message) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", message.message_id.rpartition("@")[0]).lstrip(".")
        path = self._folder / f"{name}.eml"
        new = path.with_suffix(f".{os.getpid()}.{id(message):x}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(message.content)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        self._trim()

    def _trim(self) -> None:
        files = list(self._folder.glob("*.eml"))
        if len(files) <= OUTBOX_FILES:
            return
        ages: list[tuple[float, Path]] = []
        for path in files:
            # Another process trims the same folder.
            with contextlib.suppress(FileNotFoundError):
                ages.append((path.stat().st_mtime, path))
        for _, path in sorted(ages)[: len(ages) - OUTBOX_FILES]:
            path.unlink(missing_ok=True)


class NoDelivery:
    """Refuses every message, since nothing says where mail goes."""

    async def deliver(self, message: Message, attempt: int) -> None:
        """Raises MailNotConfigured."""
        await self.verify()

    async def verify(self) -> None:
        """Raises MailNotConfigured."""
        raise MailNotConfigured("SMTP_HOST: not set, wanted the host of a mail server; no mail can be sent")

    async def close(self) -> None:
        """Nothing to let go of."""


def one_line(text: str) -> str:
    """A server's answer, which may have several lines, in one of at most 300 characters."""
    return " ".join(text.split())[:300]
