"""The table of endpoints as its document tells it: guards, answers, and that nothing hides behind anything else.

Whatever is in the table is tested here, also what is added later.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call, Endpoint, Guard
from dhanam_jobs.http.openapi import build_document
from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service, StartService

HTTP_MD = Path(__file__).parents[2] / "docs" / "http.md"
SEEDS = {"spaceId": "space-1", "queue": "categorize-transactions"}
ROW = {"guard": Guard.CALLER, "summary": "Look", "tag": "Jobs", "answers": {200: int}}


class Operation(NamedTuple):
    """One operation of the document, with an address that fits it."""

    method: str
    path: str
    told: Mapping[str, Any]


async def operations(service: Service) -> list[Operation]:
    """All operations that the running service tells of."""
    document = (await service.ask("GET", "/openapi.json")).json()
    found = [
        Operation(method.upper(), re.sub(r"\{(\w+)\}", lambda m: SEEDS.get(m[1], "5-1-0"), path), told)
        for path, row in document["paths"].items()
        for method, told in row.items()
    ]
    assert len(found) == len(ENDPOINTS)
    return found


async def statuses(
    service: Service, user: str, chosen: Iterator[Operation] | list[Operation]
) -> dict[tuple[str, str], int]:
    """What each operation answers to a user who sends a body that can't be read."""
    return {
        (each.method, prefix + each.path): (
            await service.ask(each.method, prefix + each.path, user, content=b"{", params={"nonsense": "1"})
        ).status_code
        for each in chosen
        for prefix in ("", "/v1")
    }


def only(found: dict[tuple[str, str], int]) -> set[int]:
    """The statuses that there were; empty where nothing was asked."""
    return set(found.values())


async def test_without_a_token_every_guarded_path_is_401_before_anything_is_read(service: Service) -> None:
    """Body and query are nonsense, and nobody hears that without a token."""
    guarded = [each for each in await operations(service) if each.told["x-guard"] != "public"]
    assert only(await statuses(service, "", guarded)) == {401}


async def test_public_paths_ask_for_no_token(service: Service) -> None:
    """And change nothing."""
    public = [each for each in await operations(service) if each.told["x-guard"] == "public"]
    assert {each.method for each in public} == {"GET"}
    assert {(await service.ask("GET", each.path)).status_code for each in public} == {200}


async def test_a_plain_users_token_on_admin_paths_is_403(service: Service) -> None:
    """Owners of spaces included."""
    admins = [each for each in await operations(service) if each.told["x-guard"] == "admin"]
    for user in ("olivia", "otto", "vera"):
        assert only(await statuses(service, user, admins)) == {403}


async def test_a_demo_token_on_every_change_is_403(service: Service) -> None:
    """Whoever it belongs to, an administrator included."""
    changing = [each for each in await operations(service) if each.told["x-changes"]]
    assert {each.method for each in await operations(service) if not each.told["x-changes"]} == {"GET"}
    for user in ("olivia+demo", "root+demo"):
        assert only(await statuses(service, user, changing)) == {403}


async def test_strangers_and_viewers_are_403_in_a_space_that_is_not_theirs_to_work_in(service: Service) -> None:
    """An administrator of the service is a stranger to a space."""
    every = await operations(service)
    members = [each for each in every if each.told["x-guard"] == "member"]
    in_spaces = members + [each for each in every if each.told["x-guard"] == "viewer"]
    for user in ("otto", "root"):
        assert only(await statuses(service, user, in_spaces)) == {403}
    assert only(await statuses(service, "vera", members)) == {403}


async def test_whoever_is_let_in_hears_what_is_wrong_with_the_request(service: Service) -> None:
    """A parameter that nobody knows is named, with those that are known."""
    users = {"public": "", "caller": "olivia", "viewer": "vera", "member": "mia", "admin": "root"}
    for each in await operations(service):
        user = users[each.told["x-guard"]]
        answer = await service.ask(each.method, each.path, user, params={"nonsense": "canary"})
        assert answer.status_code == 422, each
        assert "'nonsense'" in answer.json()["error"]["message"]
        assert "canary" not in answer.text


async def test_answers_have_the_form_that_the_document_promises(start_service: StartService) -> None:
    """Of every GET that answers without more, and of every refusal; errors come in the one envelope."""
    service = await start_service(wait_s=0.01)
    document = (await service.ask("GET", "/openapi.json")).json()
    checked = 0
    for each in await operations(service):
        if any("text/event-stream" in told.get("content", {}) for told in each.told["responses"].values()):
            continue
        for user in ("root", "olivia", "") if each.method == "GET" else ("otto", ""):
            answer = await service.ask(each.method, each.path, user)
            told = each.told["responses"][str(answer.status_code)]
            if "$ref" in told:
                told = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
            media = answer.headers["Content-Type"].partition(";")[0]
            assert media in told["content"], each
            if media == "application/json":
                schema = {**told["content"][media]["schema"], "components": document["components"]}
                Draft202012Validator(schema).validate(answer.json())
                checked += 1
    assert checked > len(ENDPOINTS)


async def test_the_document_is_openapi_3_1(service: Service) -> None:
    """By the specification's own schema, references included; and each operation has a name of its own."""
    answer = await service.ask("GET", "/v1/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    OpenAPIV31SpecValidator(document).validate()
    names = [each.told["operationId"] for each in await operations(service)]
    assert len(names) == len(set(names))


def test_no_endpoint_hides_behind_another() -> None:
    """An earlier row of the same method doesn't catch a later one's path."""
    for place, later in enumerate(ENDPOINTS):
        for earlier in ENDPOINTS[:place]:
            caught = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(earlier.path))
            assert earlier.method != later.method or not re.fullmatch(caught, later.path), f"{earlier} hides {later}"


def test_the_docs_tables_are_those_of_the_endpoints() -> None:
    """`python docs/http_table.py` writes them."""
    spec = importlib.util.spec_from_file_location("http_table", HTTP_MD.with_name("http_table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert HTTP_MD.read_text() == module.filled(HTTP_MD.read_text())


async def _look(call: Call[NoFields, NoFields]) -> int:
    return 1


async def _change(call: Call[NoFields, dict[str, int]]) -> int:
    return 1


async def _untyped(call: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("method", "path", "run", "more", "text"),
    [
        ("GET", "/x", _look, {"guard": Guard.MEMBER}, r"GET /x: the guard member needs \{spaceId\} in the path"),
        ("GET", "/x", _change, {}, "GET /x: GET takes neither a body nor an Idempotency-Key"),
        ("GET", "/x", _look, {"idempotent": True}, "GET takes neither"),
        ("POST", "/x", _look, {"guard": Guard.PUBLIC}, "POST /x: what changes something can't be public"),
        ("POST", "/x", _untyped, {}, r"_untyped takes no `call: Call\[Query, Body\]`"),
    ],
)
def test_a_row_that_can_not_work_is_refused_at_the_start(
    method: str, path: str, run: Any, more: dict[str, Any], text: str
) -> None:
    """With the row's name."""
    with pytest.raises(TypeError, match=text):
        Endpoint(method, path, run, **{**ROW, **more})


def test_the_table_is_described_without_a_service() -> None:
    """Building the document needs nothing but the rows."""
    assert list(build_document(ENDPOINTS)["paths"]) == list(dict.fromkeys(each.path for each in ENDPOINTS))
