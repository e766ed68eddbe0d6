"""Every letter in a real browser: nothing is wider than a phone, nothing is loaded, and figures stay whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.handlers.mail.catalog import fill, template_of
from dhanam_jobs.handlers.mail.render import Letterhead, Reader, render
from tests.handlers.mail.samples import BARE, SAMPLES

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.long

PHONE, DESK = 340, 1000
_BROKEN = """() => {
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const figure of texts.currentNode.textContent.matchAll(/−?[$€]?\\d[\\d.,]*%?/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, figure.index);
      range.setEnd(texts.currentNode, figure.index + figure[0].length);
      if (range.getClientRects().length > 1) found.push(figure[0]);
    }
  }
  return found;
}"""
"""Amounts, shares and numbers that a line's end cuts in two."""


@pytest.mark.parametrize("language", ["es", "en"])
async def test_no_letter_is_wider_than_a_phone_or_breaks_a_figure(browser: Browser, language: str) -> None:
    """On a phone and on a desk, filled in richly and barely; and nothing is asked of any server."""
    page = await browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for samples in (SAMPLES, BARE):
        for name, data in samples.items():
            template = template_of(name)
            reader = Reader(language, "America/Mexico_City")
            letter = render(template, fill(template, data), Letterhead(app_url="https://app.dhanam.io"), reader)
            for width in (PHONE, DESK):
                await page.set_viewport_size({"width": width, "height": 800})
                await page.set_content(letter.html)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                assert await page.evaluate(_BROKEN) == [], (name, width)
    assert asked == []
