"""Tells by their words which lines are no transactions; passing over them is the caller's."""

from __future__ import annotations

import re

_TOTAL = re.compile(
    r"(?:sub ?total(?:es)?|grand total|total(?:s|es)?)"
    r"(?:(?: de| of| general| generales| cargos?| abonos?| retiros?| depositos?| movimientos| importe| amount"
    r"| debits?| credits?| transactions| withdrawals| deposits)\b.*|[:=\s\d$.,-]*)"
)
_CARRIED = re.compile(
    r"(?:saldos?|sumas?) (?:inicial|final|anterior|promedio|actual|disponible|al corte|al)\b.*"
    r"|(?:opening|closing|beginning|ending|previous|starting|final) balance\b.*"
    r"|balance (?:brought |carried )?forward\b.*"
)
_UNSETTLED = re.compile(
    r"pendiente|pending|processing|procesando|rechazad[oa]|rejected|declined|cancelad[oa]|cancell?ed"
    r"|reverted|revertid[oa]|failed|fallid[oa]"
)


def is_total(text: str) -> bool:
    """Whether a folded text heads a line of totals or a balance: `Total cargos`, not `TOTAL PLAY`."""
    return _TOTAL.fullmatch(text) is not None or is_balance(text)


def is_balance(text: str) -> bool:
    """Whether a folded text names a balance carried over: `Saldo anterior`, `Opening balance`."""
    return _CARRIED.fullmatch(text) is not None


def is_unsettled(status: str) -> bool:
    """Whether a folded status says that no money has moved: pending, rejected, cancelled."""
    return _UNSETTLED.fullmatch(status) is not None
