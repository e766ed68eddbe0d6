"""How amounts, percentages, dates and durations are written, in Spanish and in English. Values in, texts out."""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

LANGUAGES: Final = ("es", "en")
# fmt: off
_MONTHS: Final = {
    "es": (
        "enero", "febrero", "marzo", "abril", "mayo", "junio",
        "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"
    ),
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December"
    ),
}
# fmt: on
_SYMBOLS: Final = {"MXN": "$", "USD": "$", "CAD": "$", "EUR": "€"}
_CENT = Decimal("0.01")


def language_of(locale: str | None) -> str:
    """`en` for every English locale (en, en-US, EN_gb); Spanish, the house's language, for all else."""
    return "en" if locale is not None and re.match(r"en([-_]|\Z)", locale.strip().lower()) else "es"


def money(amount: Decimal, currency: str) -> str:
    """`$1,234.50 MXN`, `−€3.00 EUR`; to the cent, halves away from zero."""
    rounded = amount.quantize(_CENT, ROUND_HALF_UP)
    sign = "−" if rounded < 0 else ""
    code = currency.upper()
    return f"{sign}{_SYMBOLS.get(code, '')}{abs(rounded):,.2f} {code}"


def percent(share: Decimal) -> str:
    """`12%`, `12.5%`; one decimal where there is one."""
    rounded = share.quantize(Decimal("0.1"), ROUND_HALF_UP)
    text = f"{abs(rounded):,.1f}".removesuffix(".0")
    return f"{'−' if rounded < 0 else ''}{text}%"


def day(text: str, language: str) -> str:
    """`5 de mayo de 2026`, `May 5, 2026`; a text that begins with no ISO date stands as it is."""
    if not re.match(r"\d{4}-\d\d-\d\d(T|\Z)", text):
        return text
    try:
        return _day(dt.date.fromisoformat(text[:10]), language)
    except ValueError:
        return text


def moment(text: str, language: str, zone: str) -> str:
    """A moment in the reader's zone: `5 de mayo de 2026, 14:30 (America/Mexico_City)`; no ISO moment: as it stands."""
    if not re.match(r"\d{4}-\d\d-\d\d[T ]", text):
        return day(text, language)
    try:
        given = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    if given.tzinfo is None:
        given = given.replace(tzinfo=dt.UTC)
    local = given.astimezone(ZoneInfo(zone))
    return f"{_day(local.date(), language)}, {local:%H:%M} ({zone})"


def month(text: str, year: int, language: str, number: int | None = None) -> str:
    """`mayo de 2026`, `May 2026`; from the month's number, an ISO month, or a name as it stands."""
    if number is None and (iso := re.match(r"\d{4}-(\d\d)\Z", text)):
        number = int(iso[1])
    name = _MONTHS[language][number - 1] if number is not None and 1 <= number <= 12 else text
    return f"{name} de {year}" if language == "es" else f"{name} {year}"


def duration(given: str | float, language: str) -> str:
    """`3 minutos`, `1 hour 5 minutes`; a text stands as it is. Less than a minute counts as one."""
    if isinstance(given, str):
        return given
    hours, minutes = divmod(max(1, round(given / 60)), 60)
    words = {"es": ("hora", "horas", "minuto", "minutos"), "en": ("hour", "hours", "minute", "minutes")}[language]
    parts = [f"{hours} {words[0] if hours == 1 else words[1]}"] if hours else []
    if minutes:
        parts.append(f"{minutes} {words[2] if minutes == 1 else words[3]}")
    return " ".join(parts)


def color(given: str | None) -> str:
    """A colour that may stand in a style attribute; grey where the given one may not."""
    return given if given is not None and re.match(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})\Z", given) else "#64748b"


def _day(date: dt.date, language: str) -> str:
    name = _MONTHS[language][date.month - 1]
    return f"{date.day} de {name} de {date.year}" if language == "es" else f"{name} {date.day}, {date.year}"
