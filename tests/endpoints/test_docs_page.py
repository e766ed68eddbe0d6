"""The page `/docs`, opened in a real browser: on a desk and on a phone, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from tests.endpoints.conftest import Service

pytestmark = pytest.mark.long


async def opened(
    browser: Browser, url: str, width: int, scheme: Literal["light", "dark"] = "light"
) -> tuple[Page, list[str]]:
    """The page at a width, and whatever the browser complains of or asks for."""
    page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    page.on("request", lambda request: told.append(f"request: {request.url}"))
    await page.goto(url)
    return page, told


async def test_the_page_loads_nothing_else_and_its_policy_lets_its_style_in(service: Service, browser: Browser) -> None:
    """Nothing is blocked, asked for elsewhere, or reported."""
    url = f"{service.server.url}/docs"
    page, told = await opened(browser, url, 1200)
    assert [each for each in told if "favicon" not in each] == [f"request: {url}"]
    assert await page.evaluate("getComputedStyle(document.body).maxWidth") == "960px"
    assert await page.locator("details").count() == len(ENDPOINTS)


async def test_every_endpoint_opens_and_tells_how_to_call_it(service: Service, browser: Browser) -> None:
    """By a click on its line; the address, who may, and the errors are there."""
    page, _ = await opened(browser, f"{service.server.url}/v1/docs", 1200)
    for row in ENDPOINTS:
        details = (
            page.locator("details")
            .filter(has=page.get_by_text(row.path, exact=True))
            .filter(has=page.locator(f".method.{row.method}"))
        )
        await details.locator("summary").click()
        text = await details.inner_text()
        assert row.summary in text
        assert "curl" in text
        assert "500" in text
        assert str(next(iter(row.answers))) in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone_in_light_and_in_dark(
    service: Service, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """Nothing sticks out sideways with everything open, and text stands out from its ground."""
    page, _ = await opened(browser, f"{service.server.url}/docs", 360, scheme)
    await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    grounds = await page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    ground, text = (sum(map(int, each[4:-1].split(", "))) for each in grounds)
    assert (ground > text) is (scheme == "light")
    assert abs(ground - text) > 400


async def test_the_examples_find_the_service_where_it_listens(service: Service) -> None:
    """Port and all; what the client calls us is not repeated."""
    answer = await service.client.get("/docs", headers={"Host": "elsewhere.example"})
    assert f"JOBS_URL={service.server.url}\n" in answer.text
    assert "elsewhere" not in answer.text
