"""The endpoints `/openapi.json` and `/docs`: the description of all endpoints, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import HTMLResponse

from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.docs_page import POLICY, render
from dhanam_jobs.http.endpoint import Call


async def openapi(call: Call[NoFields, NoFields]) -> Mapping[str, Any]:
    """The document that openapi.py built."""
    return call.context.document


async def page(call: Call[NoFields, NoFields]) -> HTMLResponse:
    """The same as a page, which loads nothing else."""
    return HTMLResponse(render(call.context.document), headers={"Content-Security-Policy": POLICY})
