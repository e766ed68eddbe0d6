"""Every letter in a real browser: nothing is wider than a phone, nothing is loaded, and figures stay whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from dhanam_jobs.handlers.mail.catalog import fill, template_of
from dhanam_jobs.handlers.mail.render import Letterhead, Reader, render
from tests.handlers.mail.samples import BARE, SAMPLES

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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


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
