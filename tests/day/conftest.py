"""Lends the simulated day the mail server of the mail tests."""

from __future__ import annotations

from tests.handlers.mail.conftest import certificate, mail_server

__all__ = ["certificate", "mail_server"]
