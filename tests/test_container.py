"""Proves of the Dockerfile what can be proved without an engine: it names what exists, and its check checks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: the word and the rest, with continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def values(word: str) -> list[str]:
    """What stands after each instruction of this kind."""
    return [rest for found, rest in instructions() if found == word]


def test_every_copied_file_exists_and_reaches_the_build() -> None:
    """What the build copies lies in the repository, and .dockerignore lets it through."""
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [name for rest in values("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert sources
    for name in sources:
        assert (ROOT / name).exists(), name
        assert name in admitted, name


def test_the_image_runs_the_service_as_an_ordinary_user() -> None:
    """Two stages, no root, SIGTERM to drain, and every address open inside the container."""
    words = [word for word, _ in instructions()]
    last = words[len(words) - words[::-1].index("FROM") :]
    assert words.count("FROM") == 2
    assert last.index("USER") < last.index("CMD")
    assert values("USER") == ["dhanam"]
    assert values("STOPSIGNAL") == ["SIGTERM"]
    assert [json.loads(rest) for rest in values("CMD")] == [["dhanam-jobs", "up"]]
    (environment,) = values("ENV")
    assert {"REDIS_URL=redis://localhost:6379", "HTTP_HOST=0.0.0.0"} <= set(environment.split())


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
async def test_the_health_check_tells_a_live_service_from_another(status: int | None, healthy: bool) -> None:
    """Its command ends with 0 on a 200 of /healthz, and with something else on anything else."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    (rest,) = values("HEALTHCHECK")
    command = json.loads(rest.partition("CMD ")[2])
    assert command[0] == "python"
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if status is None:
        server.close()
        await server.wait_closed()
    check = await asyncio.create_subprocess_exec(
        sys.executable, *command[1:], env={**os.environ, "HTTP_PORT": str(port)}, stderr=asyncio.subprocess.DEVNULL
    )
    assert (await check.wait() == 0) is healthy
    server.close()
    assert asked == ([] if status is None else [b"GET /healthz HTTP/1.1\r\n"])
