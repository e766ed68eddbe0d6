"""Fills in templates: a letter's data in, subject, text and HTML out.

Each letter is written once per language, out of the parts of templates/html and templates/text (`ui.p`, `ui.button`,
...), so its two forms can't drift apart. HTML is escaped throughout; a missing name fails instead of leaving a gap.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec

from dhanam_jobs.handlers.mail import figures
from dhanam_jobs.handlers.mail.catalog import Consent, Template
from dhanam_jobs.handlers.mail.letters import Letter

_TEMPLATES: Final = Path(__file__).with_name("templates")
_WIDTH = 76


class Letterhead(msgspec.Struct, frozen=True):
    """What every letter says about its sender."""

    app_name: str = "Dhanam"
    app_url: str = "https://app.dhanam.io"
    support_email: str = "support@dhanam.io"


class Reader(msgspec.Struct, frozen=True):
    """For whom a letter is written: `language` es or en, `zone` an IANA time zone for moments."""

    language: str = "es"
    zone: str = "America/Mexico_City"


class Rendered(msgspec.Struct, frozen=True):
    """A letter ready to be sent; the subject is one line."""

    subject: str
    text: str
    html: str


def render(template: Template, letter: Letter, letterhead: Letterhead, reader: Reader) -> Rendered:
    """Write a letter. Raises jinja2.UndefinedError where a template uses what its letter doesn't have."""
    values = {
        "app_name": letterhead.app_name,
        "app_url": letterhead.app_url.rstrip("/"),
        "support_email": letterhead.support_email,
        "year": dt.datetime.now(dt.UTC).year,
        "language": reader.language,
        "can_unsubscribe": template.consent is not Consent.ESSENTIAL,
        "zone": reader.zone,
        **{name: getattr(letter, name) for name in letter.__struct_fields__},
    }
    text = _environment("text", reader.language).get_template(f"{template.name}.j2")
    html = _environment("html", reader.language).get_template(f"{template.name}.j2")
    subject = "".join(text.blocks["subject"](text.new_context(values)))
    values["subject"] = one_line(subject)
    return Rendered(values["subject"], tidy(text.render(values)), html.render(values))


def one_line(text: str) -> str:
    """The text without line breaks and control characters, as a header needs it; at most 200 characters."""
    line = " ".join(re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def tidy(text: str) -> str:
    """Plain text with at most one empty line in a row and one line break at its end."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def flow(text: str) -> str:
    """A paragraph, wrapped; addresses of pages stay whole."""
    return textwrap.fill(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


@functools.cache
def _environment(form: str, language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_TEMPLATES / form, _TEMPLATES / language]),
        autoescape=form == "html",  # noqa: S701 - plain text has nothing to escape
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(_filters(language))
    # The parts and the words common to all letters, for every letter without an import line in each.
    environment.globals["ui"] = environment.get_template("parts.j2").module
    environment.globals["say"] = environment.get_template("phrases.j2").module
    return environment


def _filters(language: str) -> Mapping[str, Any]:
    return {
        "money": figures.money,
        "percent": figures.percent,
        "day": lambda text: figures.day(text, language),
        "moment": lambda text, zone: figures.moment(text, language, zone),
        "month": lambda text, year, number=None: figures.month(text, year, language, number),
        "duration": lambda given: figures.duration(given, language),
        "color": figures.color,
        "flow": flow,
    }
