"""Renders the OpenAPI document as one page for people, with curl examples; it loads nothing and runs no script."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dhanam_jobs.http.event_stream import MEDIA_TYPE

if TYPE_CHECKING:
    import jinja2

_FOLDER: Final = Path(__file__).with_name("templates")
_STYLE: Final = (_FOLDER / "docs.css").read_text()
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, and nothing else."""

WHO: Final[Mapping[str, str]] = {
    "public": "Everybody",
    "caller": "Anybody with a token",
    "viewer": "Members of the space",
    "member": "Members of the space who may work there",
    "admin": "Administrators",
}
"""Guard → who is let in, for people."""

_DEPTH: Final = 4
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def render(document: Mapping[str, Any], url: str) -> str:
    """Return the page's HTML; `url` is where its examples find the service."""
    operations = [
        _shown(document, method, path, row[method])
        for path, row in document["paths"].items()
        for method in _METHODS
        if method in row
    ]
    by_tag = {tag["name"]: [each for each in operations if each["tag"] == tag["name"]] for tag in document["tags"]}
    return _page().render(info=document["info"], style=_STYLE, by_tag=by_tag, url=url)


@lru_cache(maxsize=1)
def _page() -> jinja2.Template:
    # Slow to import, and not needed before somebody looks.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("docs.html")


def _shown(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answers, errors = [], []
    for status, told in operation["responses"].items():
        if "$ref" in told:
            named = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
            errors.append({"status": status, "text": named["description"]})
            continue
        ((media, content),) = told["content"].items()
        text = _pretty(document, content["schema"]) if media == "application/json" else media
        answers.append({"status": status, "text": told["description"], "example": text})
    return {
        "id": f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""),
        "method": method.upper(),
        "path": path,
        "tag": operation["tags"][0],
        "summary": operation["summary"],
        "who": WHO[operation["x-guard"]],
        "changes": operation["x-changes"],
        "parameters": [{**each, "type": _type_of(each["schema"])} for each in operation.get("parameters", ())],
        "fields": _fields(document, body) if body else [],
        "answers": answers,
        "errors": errors,
        "curl": _curl(document, method, path, operation, body),
    }


def _curl(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any], body: Any) -> str:
    examples = {each["name"]: each.get("example", each["name"]) for each in operation.get("parameters", ())}
    verb = "" if method == "get" else f"-X {method.upper()} "
    if any(MEDIA_TYPE in told.get("content", {}) for told in operation["responses"].values()):
        verb = "-N "
    parts = [f'curl {verb}"$JOBS_URL{path.format_map(examples)}"']
    if operation["security"]:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ())):
        parts.append('-H "Idempotency-Key: $(uuidgen)"')
    if body:
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {shlex.quote(json.dumps(_example(document, body, 0)))}")
    return " \\\n  ".join(parts)


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    whole = _resolved(document, schema)
    required = whole.get("required", ())
    return [
        {
            "name": name,
            "required": name in required,
            "type": _type_of(_resolved(document, field)),
            "description": field.get("description", ""),
        }
        for name, field in whole.get("properties", {}).items()
    ]


def _type_of(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type_of(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    kind = str(schema.get("type", "anything"))
    limits = [
        f"{schema.get(least, 0)} to {schema[most]}{unit}" if most in schema else f"at least {schema[least]}{unit}"
        for least, most, unit in _LIMITS
        if least in schema or most in schema
    ]
    return ", ".join([kind, *limits])


_LIMITS: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " entries"),
)


def _pretty(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return json.dumps(_example(document, schema, 0), indent=2, ensure_ascii=False)


def _example(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Any:
    """Return a value of the schema's form, as an illustration."""
    schema = _resolved(document, schema)
    for given in ("example", "default", "const"):
        if given in schema:
            return schema[given]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0], depth)
    if depth > _DEPTH:
        return None
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: _example(document, field, depth + 1) for name, field in fields.items()}
        case "array":
            items = schema.get("items")
            return [_example(document, items, depth + 1)] if items else []
        case "string":
            return "…"
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
    return None if schema.get("type") == "null" else {}


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema
