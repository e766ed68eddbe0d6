"""How strictly bodies and queries are read, over HTTP: by endpoints of the test's own, through the real way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Answer, Call, Endpoint, Guard
from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service, StartService

JSON = {"Content-Type": "application/json"}


class Wish(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A body."""

    how_many: Annotated[int, msgspec.Meta(ge=1, le=100)]
    text: str = ""


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """A query."""

    state: Literal["failed", "completed"]
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 25
    deep: bool = False


async def wish(call: Call[NoFields, Wish]) -> Answer:
    """Give back what was read."""
    return Answer({"howMany": call.body.how_many, "text": call.body.text}, 201, {"X-Wish": "granted"})


async def page(call: Call[Page, NoFields]) -> list[Any]:
    """Give back what was read."""
    return [call.query.state, call.query.limit, call.query.deep]


ROWS = (
    Endpoint("POST", "/wish", wish, Guard.CALLER, "Wish", tag="Test", answers={201: dict[str, Any]}),
    Endpoint("GET", "/page", page, Guard.CALLER, "Page", tag="Test", answers={200: list[Any]}),
)


@pytest.fixture
async def wishing(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service with two endpoints more."""
    monkeypatch.setattr("dhanam_jobs.http.app.ENDPOINTS", (*ENDPOINTS, *ROWS))
    return await start_service()


async def test_a_body_comes_as_its_type_and_an_answer_as_its_row_says(wishing: Service) -> None:
    """Status and headers are the function's."""
    for media in ("application/json", 'application/json; charset="UTF-8"', "application/merge-patch+json"):
        answer = await wishing.ask(
            "POST",
            "/v1/wish",
            "olivia",
            content='{"howMany": 3, "text": "ñ\\\\u0000"}',
            headers={"Content-Type": media},
        )
        assert (answer.status_code, answer.headers["X-Wish"]) == (201, "granted")
        assert answer.json() == {"howMany": 3, "text": "ñ\\u0000"}


@pytest.mark.parametrize(
    ("content", "status", "named"),
    [
        (b"{", 400, "not JSON"),
        (b"", 422, "howMany"),
        (b"[]", 422, "object"),
        (b'{"howMany": NaN}', 400, "not JSON"),
        (b'{"howMany": Infinity}', 400, "not JSON"),
        (b'{"howMany": 1, "howMany": 2}', 400, "'howMany' stands twice"),
        (b'{"howMany": 1, "text": {"a": 1, "a": 2}}', 400, "'a' stands twice"),
        (b'{"howMany": 1, "\\u0068owMany": 2}', 400, "'howMany' stands twice"),
        (b'{"howMany": "1"}', 422, "$.howMany"),
        (b'{"howMany": 1.5}', 422, "$.howMany"),
        (b'{"howMany": true}', 422, "$.howMany"),
        (b'{"howMany": 101}', 422, "$.howMany"),
        (b'{"howMany": 1, "more": 2}', 422, "more"),
        (b'{"how_many": 1}', 422, "how"),
        (b'{"howMany": 1, "text": "\\u0000"}', 422, "NUL"),
        (b'{"howMany": 1, "text": "\xff"}', 400, "UTF-8"),
        (b'{"howMany": 1, "text": "\\ud800"}', 400, "not JSON"),
        (b'\xef\xbb\xbf{"howMany": 1}', 400, "not JSON"),
        ('{"howMany": 1}'.encode("utf-16"), 400, "not JSON"),
        (b'{"howMany": 1} {}', 400, "not JSON"),
        (b"[" * 100_000, 422, "object"),
        (b'{"howMany": ' + b"9" * 5000 + b"}", 422, "$.howMany"),
        (b'{"howMany": 0}', 422, "at `$.howMany`, found 0"),
        (b'{"howMany": "' + b"x" * 5000 + b'"}', 422, "xxx..."),
        (b'{"howMany": 0} and more', 422, "at `$.howMany`"),
        (b'{"howmany": 1}', 422, "unknown field `howmany`, wanted one of howMany, text"),
    ],
)
async def test_a_body_that_is_not_right_is_refused(wishing: Service, content: bytes, status: int, named: str) -> None:
    """400 for what is no JSON or can be read in two ways, 422 for JSON of another shape."""
    answer = await wishing.ask("POST", "/wish", "olivia", content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "media",
    [
        "",
        "text/plain",
        "application/xml",
        "application/jsonp",
        "application/json; charset=latin-1",
        "multipart/form-data",
    ],
)
async def test_a_body_announced_as_something_else_is_415(wishing: Service, media: str) -> None:
    """JSON in another charset too."""
    answer = await wishing.ask("POST", "/wish", "olivia", content=b'{"howMany": 1}', headers={"Content-Type": media})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("state=failed", ["failed", 25, False]),
        ("state=completed&limit=3&deep=true", ["completed", 3, True]),
        ("deep=0&state=failed", ["failed", 25, False]),
    ],
)
async def test_a_query_comes_as_its_type(wishing: Service, query: str, read: list[Any]) -> None:
    """Numbers and booleans are read from their texts."""
    assert (await wishing.ask("GET", f"/page?{query}", "olivia")).json() == read


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "state"),
        ("state=lost", "$.state"),
        ("state=failed&limit=0", "$.limit"),
        ("state=failed&limit=ten", "$.limit"),
        ("state=failed&limit=", "$.limit"),
        ("state=failed&state=completed", "state stands there twice"),
        ("state=failed&more=1", "'more', wanted one of state, limit, deep"),
        ("state=%00", "state holds a NUL"),
        ("state=%ff", "$.state"),
    ],
)
async def test_a_query_that_is_not_right_is_422(wishing: Service, query: str, named: str) -> None:
    """The message names the parameter."""
    answer = await wishing.ask("GET", f"/page?{query}", "olivia")
    assert answer.status_code == 422, answer.text
    assert named in answer.json()["error"]["message"]


async def test_the_document_tells_parameters_and_bodies(wishing: Service) -> None:
    """From the types."""
    paths = (await wishing.ask("GET", "/openapi.json")).json()["paths"]
    assert paths["/page"]["get"]["parameters"] == [
        {"name": "state", "in": "query", "required": True, "schema": {"enum": ["completed", "failed"]}},
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25},
        },
        {"name": "deep", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}},
    ]
    body = paths["/wish"]["post"]["requestBody"]
    assert body == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wish"}}},
    }
