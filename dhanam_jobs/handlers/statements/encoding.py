"""Turns the bytes of a statement file into text; what the text says is left to others."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from dhanam_jobs.handlers.statements.errors import StatementError

MAX_BYTES = 256 * 1024 * 1024

_BOMS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)

_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<", "an HTML or XML document"),
    (b"OFXHEADER", "an OFX file"),
    (b"!Type:", "a QIF file"),
)


class Decoded(NamedTuple):
    """text: the whole file without a byte order mark. encoding: `UTF-8`, `UTF-16`, `UTF-32` or
    `Windows-1252`.
    """

    text: str
    encoding: str


def decode(raw: bytes) -> Decoded:
    """Text of the file: by its byte order mark, else UTF-8 where every byte fits it, else Windows-1252.

    Raises StatementError for an empty or oversized file, for one that is no text at all, and for text that is
    UTF-8 in most places and not in others: read as Windows-1252 its accents would be wrong, and the keys made
    from them too.
    """
    decoded = _decode(raw)
    if not decoded.text.strip():
        raise StatementError("the file is empty; a statement with a header line and rows is wanted")
    return decoded


def _decode(raw: bytes) -> Decoded:
    if len(raw) > MAX_BYTES:
        raise StatementError(f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read, split it")
    for bom, codec, name in _BOMS:
        if raw.startswith(bom):
            return Decoded(_without_nul(_strict(raw, codec, name)), name)
    head = raw[:64].lstrip()
    for magic, kind in _OTHER_FORMATS:
        if head.startswith(magic):
            raise StatementError(f"the file is {kind}, not CSV; export the statement as CSV (text)")
    nul = raw.find(b"\0")
    if nul >= 0:
        raise StatementError(
            f"the file is not text: a NUL byte on line {_line(raw, nul)} (offset {nul}); "
            "UTF-8, Windows-1252 or UTF-16 with a byte order mark is wanted"
        )
    _refuse_binary(raw)
    try:
        return Decoded(raw.decode("utf-8"), "UTF-8")
    except UnicodeDecodeError as error:
        _refuse_damaged_utf8(raw, error)
    return Decoded(_strict(raw, "cp1252", "Windows-1252"), "Windows-1252")


def _strict(raw: bytes, codec: str, name: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        found = f"byte 0x{raw[error.start]:02x} on line {_line(raw, error.start)} (offset {error.start})"
        wanted = "UTF-8 and not Windows-1252 either" if codec == "cp1252" else name
        raise StatementError(f"{found} is not {wanted}; save the file as UTF-8") from None


def _without_nul(text: str) -> str:
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise StatementError(f"the file is not text: a NUL character on line {line}; save the file as UTF-8")
    return text


def _refuse_binary(raw: bytes) -> None:
    head = raw[:4096]
    control = sum(byte < 9 or 13 < byte < 32 for byte in head)
    if control * 20 > len(head):
        raise StatementError(
            f"the file is not text: {control} of its first {len(head)} bytes are control characters; "
            "a CSV file is wanted"
        )


def _refuse_damaged_utf8(raw: bytes, error: UnicodeDecodeError) -> None:
    # In real Windows-1252 text two accented letters hardly ever form a valid UTF-8 sequence.
    text = raw.decode("utf-8", errors="replace")
    wrong = text.count("\ufffd")
    right = sum(ord(c) > 127 for c in text) - wrong
    if right > wrong:
        raise StatementError(
            f"byte 0x{raw[error.start]:02x} on line {_line(raw, error.start)} (offset {error.start}) is not "
            "UTF-8, though the rest of the file is; save the whole file in one encoding"
        )


def _line(raw: bytes, offset: int) -> int:
    return raw.count(b"\n", 0, offset) + 1
