"""Every letter in both languages: filled in, escaped, worded, the same in text and in HTML."""

from __future__ import annotations

import html.parser
import re
from typing import Any

import pytest

from dhanam_jobs.handlers.mail.catalog import TEMPLATES, BadLetter, UnknownTemplate, fill, template_of
from dhanam_jobs.handlers.mail.render import Letterhead, Reader, Rendered, render
from tests.handlers.mail.samples import BARE, SAMPLES

LETTERHEAD = Letterhead(app_url="https://app.dhanam.test/")
_VOID = {"meta", "br", "img", "hr", "link"}


def written(
    name: str, language: str, data: dict[str, Any] | None = None, zone: str = "America/Mexico_City"
) -> Rendered:
    """A letter from its sample."""
    template = template_of(name)
    letter = fill(template, SAMPLES[name] if data is None else data)
    return render(template, letter, LETTERHEAD, Reader(language, zone))


class _Page(html.parser.HTMLParser):
    """Reads a page, and complains where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_there_is_a_sample_of_every_template() -> None:
    """So the tests below leave none out."""
    assert [row.name for row in TEMPLATES] == list(SAMPLES) == list(BARE)
    assert len(TEMPLATES) == 26


@pytest.mark.parametrize("language", ["es", "en"])
@pytest.mark.parametrize("samples", [SAMPLES, BARE], ids=["rich", "bare"])
@pytest.mark.parametrize("name", list(SAMPLES))
def test_every_template_renders_in_both_languages(name: str, samples: dict[str, Any], language: str) -> None:
    """B1: the original's templates used functions that nobody had registered, and five weren't loaded at all."""
    letter = written(name, language, samples[name])

    assert letter.subject
    assert "\n" not in letter.subject
    page = _Page(letter.html)
    assert page.open == []
    assert f'<html lang="{language}">' in letter.html
    assert not page.tags & {"script", "img", "b"}
    for text in (letter.text, letter.html):
        assert "support@dhanam.io" in text
        assert "{{" not in text
        assert not re.search(r"\bNone\b|Undefined|Decimal\(|<bound|Markup", text)
    # The same words in both forms; the text shows addresses where the page has buttons.
    shown = " ".join(" ".join(page.words).split())
    for word in re.findall(r"[\wáéíóúñ]{4,}", re.sub(r"https?://\S+", "", letter.text)):
        assert word in shown, word
    for link in page.links:
        assert link in letter.text


@pytest.mark.parametrize("language", ["es", "en"])
def test_no_two_letters_share_a_subject_or_a_language(language: str) -> None:
    """A subject in the wrong language, or copied, is a letter that nobody looked at."""
    subjects = {name: written(name, language).subject for name in SAMPLES}
    other = {name: written(name, "en" if language == "es" else "es").subject for name in SAMPLES}

    assert len(set(subjects.values())) == len(subjects)
    assert not {name for name in subjects if subjects[name] == other[name]}


def test_what_people_write_is_escaped_in_pages_and_left_as_it_is_in_texts() -> None:
    """A name that is markup is shown, not obeyed."""
    letter = written("weekly-summary", "es")

    assert "Ana &lt;b&gt;Núñez&lt;/b&gt; &amp; Cía" in letter.html
    assert "Ana <b>Núñez</b> & Cía" in letter.text
    assert "&lt;script&gt;" in letter.html
    assert "&amp;" not in letter.text
    shared = written("investor-report", "en")
    assert "<img" not in shared.html
    assert "> <img src=x onerror=alert(1)>" in shared.text


def test_a_colour_that_is_more_than_a_colour_is_not_used() -> None:
    """Styles are not a place for other people's texts."""
    letter = written("transaction-categorized", "es")

    assert "#e11d48" in letter.html
    assert "evil" not in letter.html
    assert "#64748b" in letter.html


def test_a_subject_is_one_line_whatever_the_data_hold() -> None:
    """A budget's name can't add a header."""
    data = {**SAMPLES["budget-alert"], "budgetName": "Comida\r\nBcc: eve@example.test\u2028x"}

    assert (
        written("budget-alert", "es", data).subject
        == "Llevas el 92.5% de tu presupuesto Comida Bcc: eve@example.test x"
    )
    long = {**SAMPLES["budget-alert"], "budgetName": "x" * 900}
    assert len(written("budget-alert", "es", long).subject) == 200


def test_amounts_and_dates_are_written_in_the_readers_language_and_zone() -> None:
    """Cents are exact, and a moment is the reader's."""
    spanish, english = written("login-alert", "es"), written("login-alert", "en", zone="Europe/Madrid")

    assert "5 de mayo de 2026, 14:30 (America/Mexico_City)" in spanish.text
    assert "May 5, 2026, 22:30 (Europe/Madrid)" in english.text
    week = written("weekly-summary", "es").text
    assert "$8,730.90 MXN" in week
    assert "−$1,230.90 MXN" in week
    assert "Sin categoría · Gasto: $812.33 MXN · Parte: 9.3%" in week
    assert "USD · Gastos: $20.10 USD · Entradas menos gastos: −$20.10 USD" in week
    assert "1 movimiento está sin categoría" in week
    assert "mayo de 2026" in written("monthly-report", "es", BARE["monthly-report"]).subject
    assert "May 2026" in written("monthly-report", "en").subject


def test_digits_of_large_amounts_are_kept() -> None:
    """Amounts as texts don't pass through floating point."""
    data = {**SAMPLES["budget-alert"], "spent": "123456789012345.67"}

    assert "$123,456,789,012,345.67 MXN" in written("budget-alert", "es", data).text


def test_data_that_do_not_fill_a_template_in_are_refused_by_name() -> None:
    """The template and the missing key are named."""
    with pytest.raises(BadLetter, match=r"Object missing required field `resetUrl` \(template 'password-reset'\)"):
        fill(template_of("password-reset"), {"name": "Ana"})
    with pytest.raises(BadLetter, match=r"`resetUrl`|\$\.resetUrl"):
        fill(template_of("password-reset"), {"name": "Ana", "resetUrl": "javascript:alert(1)"})
    with pytest.raises(UnknownTemplate, match="template 'welcom': wanted one of welcome, email-verification"):
        template_of("welcom")


def test_only_letters_that_can_be_switched_off_say_where() -> None:
    """A password reset has no such link."""
    assert "https://app.dhanam.test/settings/notifications" in written("weekly-summary", "en").text
    assert "/settings/notifications" not in written("password-reset", "en").text
