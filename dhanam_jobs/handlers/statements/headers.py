"""Finds the header line of a statement and says what each column is by its name; cells are read by others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dhanam_jobs.handlers.statements.amounts import currency_code
from dhanam_jobs.handlers.statements.errors import StatementError, shown
from dhanam_jobs.handlers.statements.records import read_records

Role = Literal[
    "date",
    "description",
    "amount",
    "debit",
    "credit",
    "side",
    "signed or side",
    "balance",
    "merchant",
    "reference",
    "currency",
    "status",
]

DELIMITERS: tuple[str, ...] = (",", ";", "\t", "|")
_SEARCHED_LINES = 200
_AMOUNT_ROLES: tuple[Role, ...] = ("amount", "debit", "credit", "signed or side")
_STAND_INS: tuple[Role, ...] = ("merchant", "side", "reference")

# Best first: of two columns with the same role the one named earlier here is taken. Spelled as `_folded`
# gives it.
_NAMES: dict[Role, str] = {
    "date": """
        fecha operacion, fecha movimiento, fecha transaccion, fecha compra, fecha consumo, fecha cargo,
        transaction date, trans date, txn date, operation date, purchase date, started date, fecha,
        f operacion, f oper, fecha oper, fecha mov, fecha hora, hora fecha, date, date time, datetime, dia,
        completed date, date completed, fecha aplicacion, fecha contable, fecha registro, fecha proceso,
        posting date, posted date, post date, date posted, posted, booking date, booked, fecha liquidacion,
        settlement date, effective date, fecha valor, f valor, value date
    """,
    "description": """
        descripcion, description, concepto, descripcion movimiento, descripcion operacion,
        descripcion transaccion, concepto movimiento, concepto operacion, concepto transaccion,
        transaction description, original description, detalle, detalles, detail, details,
        detalle movimiento, detalle operacion, narrative, narration, particulars, concept, movimiento,
        movimientos, transaccion, operacion, transaction, glosa, leyenda, texto, memo, observaciones,
        observacion, remarks
    """,
    "amount": """
        importe, monto, amount, importe movimiento, importe operacion, importe transaccion,
        monto movimiento, monto operacion, monto transaccion, transaction amount, txn amount, amt, valor,
        value, cantidad
    """,
    "debit": """
        cargo, cargos, retiro, retiros, debito, debitos, debe, debit, debits, debit amount, withdrawal,
        withdrawals, withdrawal amount, withdrawal amt, importe cargo, importe cargos, monto cargo,
        importe debito, monto debito, importe retiro, monto retiro, egreso, egresos, salida, salidas, gasto,
        gastos, paid out, money out, outflow, charge, charges
    """,
    "credit": """
        abono, abonos, deposito, depositos, credito, creditos, haber, credit, credits, credit amount,
        deposit, deposits, deposit amount, deposit amt, importe abono, importe abonos, monto abono,
        importe credito, monto credito, importe deposito, monto deposito, ingreso, ingresos, entrada,
        entradas, paid in, money in, inflow
    """,
    "side": """
        dc, cd, d c, c d, cr dr, dr cr, credit debit indicator, debit credit indicator, indicador,
        naturaleza, signo, sentido, tipo movimiento, tipo operacion, tipo transaccion, tipo,
        transaction type, type
    """,
    "balance": """
        saldo, saldos, balance, running balance, saldo contable, saldo despues, saldo actual, saldo final,
        closing balance, account balance, saldo disponible, available balance, disponible
    """,
    "merchant": """
        comercio, establecimiento, nombre comercio, merchant, merchant name, payee, beneficiario,
        counterparty, contraparte, vendor
    """,
    "reference": """
        referencia, reference, ref, no referencia, num referencia, numero referencia, reference number,
        reference no, clave rastreo, folio, no folio, numero folio, transaction id, id transaccion,
        id operacion, id movimiento, numero operacion, no operacion, numero movimiento, no movimiento,
        autorizacion, no autorizacion, numero autorizacion, cheque, no cheque, numero cheque, check number,
        check no, check or slip
    """,
    "currency": """
        moneda, divisa, currency, ccy, currency code, codigo moneda
    """,
    "status": """
        estado, estatus, status, state, situacion, estado movimiento, transaction status
    """,
}
_RANKS: dict[str, tuple[Role, int]] = {
    name.strip(): (role, rank) for role, names in _NAMES.items() for rank, name in enumerate(names.split(","))
}
# Beyond the names known: "Retiros / Cargos", "Concepto / Referencia", "Fecha de alta". Amounts have no such rule
# for words unknown, because a wrong column would be wrong money.
_FIRST_WORDS: dict[str, Role] = {
    "fecha": "date",
    "descripcion": "description",
    "description": "description",
    "concepto": "description",
    "detalle": "description",
}
_FILLERS = frozenset(("de", "del", "la", "el", "los", "las", "of", "the", "y", "and", "en", "por"))
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_CODES = re.compile(
    r"\b(MXN|USD|EUR|CAD|M\.?N\.?|PESOS|D[OÓ]LARES|EUROS)(?![A-Z])|US\$|[€£]",
    re.IGNORECASE,
)


class Column(NamedTuple):
    """position: in the row, from 0. header: as the file spells it. currency: ISO code named there, else
    None."""

    position: int
    header: str
    currency: str | None = None


class Header(NamedTuple):
    """The header line and what it says.

    delimiter: between cells. line: physical line of the header, from 1. next_line: index of the line after
    it. cells: as the file has them. columns: the column of each role that the file has. descriptions: every
    column that describes the row, the best first.
    """

    delimiter: str
    line: int
    next_line: int
    cells: list[str]
    columns: dict[Role, Column]
    descriptions: list[Column]

    @property
    def width(self) -> int:
        """Number of cells in a row."""
        return len(self.cells)


def find_header(lines: Sequence[str]) -> Header:
    """The first line, under whichever delimiter, that names a date column and one with amounts.

    Lines before it (the bank's name, account number, period) are passed over; 200 lines are searched. A first
    line `sep=;` settles the delimiter. Raises StatementError when there is no such line, when two columns
    have one name, or when no column can serve as description.
    """
    start, delimiters = 0, DELIMITERS
    if match := re.fullmatch(r'"?sep=([,;\t|])"?', lines[0].rstrip("\r\n"), re.IGNORECASE):
        start, delimiters = 1, (match[1],)
    found = [header for d in delimiters if (header := _find(lines[: start + _SEARCHED_LINES], d, start))]
    if not found:
        raise _no_header(lines, start)
    header = max(found, key=lambda h: ("description" in h.columns, len(h.columns), h.width))
    if "description" not in header.columns:
        for stand_in in _STAND_INS:
            if column := header.columns.get(stand_in):
                columns: dict[Role, Column] = {**header.columns, "description": column}
                return header._replace(columns=columns, descriptions=[column])
        raise StatementError(
            f"the header on line {header.line} names no column with a description; wanted one such as "
            "Descripción, Concepto, Description"
        )
    return header


def _find(lines: Sequence[str], delimiter: str, start: int) -> Header | None:
    found: Header | None = None
    for record in read_records(lines, delimiter, start=start):
        if record.malformed or len(record.cells) < 2:
            continue
        named = name_columns(record.cells)
        # A summary above the rows may name a date and amounts too; the rows' header also describes them.
        described = not named.keys().isdisjoint(("description", *_STAND_INS))
        if "date" not in named or named.keys().isdisjoint(_AMOUNT_ROLES) or (found and not described):
            continue
        next_line = record.line + sum(_line_breaks(cell) for cell in record.cells)
        best = {role: columns[0] for role, columns in named.items()}
        found = Header(delimiter, record.line, next_line, record.cells, best, named.get("description", []))
        if described:
            _refuse_twins(record.line, named)
            break
    return found


def name_columns(cells: Sequence[str]) -> dict[Role, list[Column]]:
    """The columns of each role, best first; cells that name no role are left out."""
    ranked: dict[Role, list[tuple[int, Column]]] = {}
    for position, cell in enumerate(cells):
        if known := _role(_folded(cell)):
            code = _CODES.search(cell)
            column = Column(position, " ".join(cell.split()), currency_code(code[0]) if code else None)
            ranked.setdefault(known[0], []).append((known[1], column))
    return {
        role: [column for _, column in sorted(columns, key=lambda pair: pair[0])] for role, columns in ranked.items()
    }


def _role(name: str) -> tuple[Role, int] | None:
    """Role of a folded name and its rank in it, a lower one being better; None: it names none."""
    if known := _RANKS.get(name):
        return known
    words = name.split()
    roles = {_RANKS[word][0] if word in _RANKS else None for word in words}
    if roles and roles <= {"debit", "credit"}:
        return ("signed or side" if len(roles) == 2 else "debit" if "debit" in roles else "credit"), len(_RANKS)
    if words and (role := _FIRST_WORDS.get(words[0])):
        return role, len(_RANKS)
    return None


def _folded(name: str) -> str:
    # The currency that stands beside a name ("Importe (MXN)", "Saldo €") says nothing about the column's
    # role.
    name = _CODES.sub(" ", name)
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).lower()
    return " ".join(word for word in _NOT_WORD.split(plain) if word and word not in _FILLERS)


def _line_breaks(cell: str) -> int:
    return cell.count("\n") + cell.replace("\r\n", "").count("\r")


def _refuse_twins(line: int, named: dict[Role, list[Column]]) -> None:
    for role in ("date", *_AMOUNT_ROLES):
        first, *rest = named.get(role, ()) or (None,)
        for other in rest:
            if first and other and _folded(other.header) == _folded(first.header):
                raise StatementError(
                    f'the header on line {line} has the columns {first.position + 1} "{first.header}" and '
                    f'{other.position + 1} "{other.header}"; rename or remove the one that doesn\'t count'
                )


def _no_header(lines: Sequence[str], start: int) -> StatementError:
    best: tuple[int, int, set[Role]] = (0, min(start + 1, len(lines)), set())
    for delimiter in DELIMITERS:
        for record in read_records(lines[: start + _SEARCHED_LINES], delimiter, start=start):
            named = name_columns(record.cells)
            if len(named) > best[0]:
                best = (len(named), record.line, set(named))
    _, line, roles = best
    missing = " and ".join(
        text
        for text, lacks in (
            ("a date (such as Fecha, Date)", "date" not in roles),
            (
                "amounts (such as Importe, Amount, or Cargo and Abono)",
                roles.isdisjoint(_AMOUNT_ROLES),
            ),
        )
        if lacks
    )
    return StatementError(
        f"no header line in the first {min(len(lines), _SEARCHED_LINES)} lines: wanted one that "
        f'names {missing or "a date and amounts"}; line {line} reads "{shown(lines[line - 1].strip())}"'
    )
