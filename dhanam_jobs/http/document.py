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
    # The address that was reached, and not what the client calls it: a Host header may say anything.
    host, port = call.request.scope.get("server") or ("127.0.0.1", 4300)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return HTMLResponse(render(call.context.document, url), headers={"Content-Security-Policy": POLICY})
