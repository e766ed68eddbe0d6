"""Writes reference.md: every public name of the engine, with its signature and its docstring.

    python docs/reference.py

What is written there is written in the code; this file only says in which order, and refuses a public name that it
doesn't know.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, is_typeddict

import msgspec

from dhanam_jobs import engine
from dhanam_jobs.engine import defaults, errors, events, pytest_plugin, testing

#: Public by their names, but there for the engine's other parts and not for users.
INNER = {
    "Engine": "run link listener time_moved announce_queue check_accepting stop_accepting claim_for",
    "Queue": "forget_announced close store enqueue_while_draining",
    "SyncEngine": "run call read time_override",
    "ManualClock": "set follow",
    "RetryPolicy": "to_option overridden",
    "Registry": "row_of find named taking jobs_of",
    "ResourceScope": "open close",
    "Scheduler": "look tick",
    "Schedule": "parsed",
    "EventReader": "open",
}
#: What users are given, and don't make.
GIVEN = (
    "ServerReport Queue Job JobContext ProcessContext RemoteWorker Schedules Limits Operations DeadLetters EventReader "
    "SyncQueue SyncJob QueueFull WrongState QueueActive JobFailed RemoteError"
)
PAGE = Path(__file__).with_name("reference.md")
HEAD = """\
# Reference

Every public name of `dhanam_jobs.engine`, made from its docstrings by `python docs/reference.py`; the
[tutorial](tutorial/README.md) teaches. Times are seconds where people give them, and in names that end in `_ms` whole
milliseconds, since 1970 by Redis's clock where they are moments. What asks Redis raises `EngineUnavailable` where Redis
doesn't answer within five seconds, and an illegal argument is a `ConfigurationError` that names it, also where a
docstring doesn't repeat it.

"""
DEFAULTS = "Defaults and limits"
GROUPS: dict[str, str] = {
    "Engine, queues, jobs": "Engine ServerReport Queue QueueStats QueueCounts Job JobInfo JobState Record AttemptError "
    "JobError JobNotes LogLine",
    "Enqueueing": "EnqueueOptions JobRequest Unique Priority",
    "What runs jobs": "Registry QueueConfig RetryPolicy Retention JobContext JobView ProcessContext Middleware "
    "ResourceScope Discard RetryLater Snooze Limited WaitForChildren",
    "Workers and processes": "Worker Supervisor WorkerInfo RunningJob ProcessInfo processes RemoteWorker",
    "Schedules and crons": "Schedule Schedules ScheduleInfo LastRun Scheduler next_fires CronError",
    "Limits of queues and keys": "Limit Limits LimitState",
    "Jobs that wait for jobs": "Child ChildEnd Family Kin ParentOf chain",
    "Operators' verbs": "Operations JobFilter Page Explanation Reason DeadLetters inspect_queue",
    "Events and metrics": "EventReader Event JobEvent Gap events JobMetrics Counts",
    "Without an event loop": "SyncEngine SyncQueue SyncJob",
    "Outbox": "outbox_row OutboxRow OutboxRelay requests_by_queue",
    "Errors": " ".join(
        name
        for name, error in vars(errors).items()
        if inspect.isclass(error) and issubclass(error, errors.EngineError) and name in engine.__all__
    ),
}


def page() -> str:
    """The whole page. Raises ValueError for a public name that no group has, or that two have."""
    grouped = [name for names in GROUPS.values() for name in names.split()]
    wanted = {*engine.__all__}
    if len(set(grouped)) < len(grouped) or set(grouped) != wanted:
        twice = {name for name in grouped if grouped.count(name) > 1}
        missing, unknown = sorted(wanted.difference(grouped)), sorted(set(grouped) - wanted)
        raise ValueError(f"GROUPS: missing {missing}, unknown {unknown}, twice {sorted(twice)}")
    parts = []
    for title, names in _sections().items():
        parts.append(f"## {title}\n")
        parts += [_entry(name, thing) for name, thing in names.items()]
    body = "\n".join(parts)
    return f"{HEAD}{_index(body)}- **[{DEFAULTS}](#{_anchor(DEFAULTS)})**\n\n{body}\n{_defaults()}"


def _defaults() -> str:
    """A table of `defaults.py`: what stands there below each value says what it is."""
    rows = [f"## {DEFAULTS}\n", "| name | value | what it is |", "|---|--:|---|"]
    lines = ast.parse(inspect.getsource(defaults)).body
    for line, said in pairwise(lines):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            assert isinstance(said, ast.Expr)
            assert isinstance(said.value, ast.Constant)
            value = getattr(defaults, line.target.id)
            rows.append(f"| `{line.target.id}` | {value:,} | {said.value.value} |")
    return "\n".join(rows) + "\n"


def _index(body: str) -> str:
    """Links to what the page holds; GitHub numbers headings that differ in nothing but case."""
    anchors: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{2,4} (.+)$", body, re.MULTILINE):
        slug = _anchor(heading)
        anchors.setdefault(heading, f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return "".join(
        f"- **[{title}](#{anchors[title]})**: {', '.join(f'[{name}](#{anchors[name]})' for name in names)}\n"
        for title, names in _sections().items()
    )


def _sections() -> dict[str, dict[str, Any]]:
    sections = {title: {name: getattr(engine, name) for name in names.split()} for title, names in GROUPS.items()}
    kinds = {
        name: kind
        for name, kind in vars(events).items()
        if inspect.isclass(kind) and issubclass(kind, events.Event) and kind.__module__ == events.__name__
    }
    known = sections["Events and metrics"]
    del known["events"]
    known.update((name, kind) for name, kind in kinds.items() if name not in known)
    sections["For tests: `dhanam_jobs.engine.testing`"] = {name: getattr(testing, name) for name in testing.__all__}
    sections["For tests: `dhanam_jobs.engine.pytest_plugin`"] = {"ConnectEngine": pytest_plugin.ConnectEngine}
    return sections


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _entry(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f"### {name}\n\n{_code(name, thing)}\n{_doc(thing)}\n"
    text = [f"### {name}\n"]
    if issubclass(thing, BaseException):
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        text.append(f"Base: `{bases}`.\n")
    if _is_made_by_users(thing):
        text.append(_code(name, thing))
    text.append(_doc(thing) + "\n")
    text.append(_fields(thing))
    for member, value in _members(thing):
        text.append(_member(name, member, value))
    return "\n".join(part for part in text if part)


def _is_made_by_users(thing: Any) -> bool:
    if issubclass(thing, enum.Enum | msgspec.Struct) or is_typeddict(thing) or getattr(thing, "_is_protocol", False):
        return False
    return "__init__" in vars(thing) and thing.__name__ not in GIVEN.split()


def _fields(thing: Any) -> str:
    if issubclass(thing, enum.Enum):
        said = _said_of_members(thing)
        return "".join(f"- `{one.name}` = `{one.value!r}`{said.get(one.name, '')}\n" for one in thing)
    if is_typeddict(thing):
        return "".join(f"- `{name}: {_type(kind)}`\n" for name, kind in thing.__annotations__.items())
    if not issubclass(thing, msgspec.Struct):
        return ""
    own = _annotations(thing)
    return "".join(
        f"- `{field.name}: {_type(own[field.name])}{_default(field)}`\n" for field in msgspec.structs.fields(thing)
    )


def _said_of_members(thing: Any) -> dict[str, str]:
    """The texts that stand below the members of a class, in its source."""
    said, name = {}, ""
    for line in ast.parse(inspect.getsource(thing)).body[0].body:  # type: ignore[attr-defined]
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name = line.targets[0].id
        elif name and isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            said[name] = f": {line.value.value!s}"
    return said


def _annotations(thing: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(thing.__mro__):
        found.update(vars(base).get("__annotations__", {}))
    return found


def _type(kind: Any) -> str:
    if inspect.isclass(kind):
        return kind.__name__
    return str(getattr(kind, "__forward_arg__", kind))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return f" = {field.default_factory()!r}"
    return "" if field.default is msgspec.NODEFAULT else f" = {_value(field.default)}"


def _members(thing: Any) -> list[tuple[str, Any]]:
    if issubclass(thing, enum.Enum):
        return []
    return [
        (name, value)
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and name not in INNER.get(thing.__name__, "").split()
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
    ]


def _member(owner: str, name: str, value: Any) -> str:
    title = f"#### {owner}.{name}\n\n"
    above = "@classmethod\n" if isinstance(value, classmethod) else ""
    if isinstance(value, property):
        kind = inspect.signature(value.fget).return_annotation if value.fget else Any
        return f"{title}`{name}: {_type(kind)}` (property)\n\n{_doc(value)}\n"
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    return f"{title}{_code(name, function, method=True, above=above)}\n{_doc(function)}\n"


def _code(name: str, thing: Any, *, method: bool = False, above: str = "") -> str:
    word = "async def " if inspect.iscoroutinefunction(thing) else ("class " if inspect.isclass(thing) else "def ")
    signature = inspect.signature(thing)
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    lines, star = [], False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            lines.append("*")
            star = True
        lines.append(_parameter(parameter))
    returns = "" if inspect.isclass(thing) else f" -> {_type(signature.return_annotation)}"
    whole = f"{word}{name}({', '.join(lines)}){returns}"
    if len(whole) > 100:
        inside = "".join(f"    {line},\n" for line in lines)
        whole = f"{word}{name}(\n{inside}){returns}"
    return f"```python\n{above}{whole}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    text = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))  # with its stars
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {_value(parameter.default)}" if ":" in text else f"={_value(parameter.default)}"
    return text


def _value(value: Any) -> str:
    if value is msgspec.UNSET:
        return "UNSET"
    if isinstance(value, msgspec.Raw):
        return f"Raw({bytes(value)!r})"
    if isinstance(value, msgspec.Struct) and value == type(value)():
        return f"{type(value).__name__}()"
    text = repr(value)
    return re.sub(r"<(?:function|class) '?([\w.]+)'?.*>", r"\1", text)


def _doc(thing: Any) -> str:
    text = inspect.getdoc(thing)
    assert text, f"{thing} has no docstring"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
