"""E-mail addresses: read and checked, so that nothing in one can become a header or a second recipient."""

from __future__ import annotations

import re
from email.headerregistry import Address

import msgspec

MAX_LENGTH = 320
"""Characters of an address with its name; RFC 5321 allows 254 for the address alone."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>\s*\Z")
_BARE = re.compile(r"(?P<local>[^\s@<>()\[\]:;,\\\"]+)@(?P<domain>[^\s@<>()\[\]:;,\\\"]+)\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")


class BadAddress(ValueError):
    """Not one address; the text says what was found."""


class Mailbox(msgspec.Struct, frozen=True):
    """An address with the name shown beside it (may be empty). The domain is in lower case and in ASCII (IDNA)."""

    address: str
    name: str = ""

    @property
    def key(self) -> str:
        """The address as one recipient is told from another: capitals don't count."""
        return self.address.casefold()

    @property
    def domain(self) -> str:
        """What follows the @."""
        return self.address.rpartition("@")[2]

    def header(self) -> Address:
        """The value of a From or To header."""
        return Address(display_name=self.name, addr_spec=self.address) if self.is_ascii() else _unicode_header(self)

    def is_ascii(self) -> bool:
        """Whether every mail server can take the address; a name may hold anything."""
        return self.address.isascii()


def read_address(text: str) -> Mailbox:
    """Read `someone@example.com` or `Some One <someone@example.com>`.

    Raises BadAddress for several addresses, control characters, or what no mail server would take.
    """
    if len(text) > MAX_LENGTH:
        raise BadAddress(f"address: found {len(text)} characters, wanted at most {MAX_LENGTH}")
    if _UNFIT.search(text):
        raise BadAddress(f"address {text!r}: found a line break or control character, wanted one e-mail address")
    name, address = "", text.strip()
    if named := _NAMED.match(text):
        name, address = named["name"].strip('" '), named["address"].strip()
    bare = _BARE.match(address)
    if bare is None:
        raise BadAddress(f"address {text!r}: wanted one e-mail address")
    local, domain = bare["local"], bare["domain"]
    if len(local.encode()) > 64 or local.startswith(".") or local.endswith(".") or ".." in local:
        raise BadAddress(f"address {text!r}: found a local part that is too long or has misplaced dots")
    try:
        ascii_domain = domain.encode("idna").decode().lower()
    except UnicodeError:
        raise BadAddress(f"address {text!r}: found domain {domain!r}, wanted a host name") from None
    if not all(_LABEL.match(label) for label in ascii_domain.split(".")) or len(ascii_domain) > 253:
        raise BadAddress(f"address {text!r}: found domain {domain!r}, wanted a host name")
    return Mailbox(f"{local}@{ascii_domain}", name)


def _unicode_header(mailbox: Mailbox) -> Address:
    # `addr_spec` refuses what isn't ASCII; the two parts are taken as they are.
    local, _, domain = mailbox.address.rpartition("@")
    return Address(display_name=mailbox.name, username=local, domain=domain)
