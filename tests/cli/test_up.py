"""`up`: the service from its first line to its exit code, as a user starts, uses, kills and restarts it."""

from __future__ import annotations

import concurrent.futures
import json
import re
import signal
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Ask, RunCommand, Service, StartService

CATEGORIZE = "/jobs/categorize/space_123"


@pytest.fixture(scope="module")
def up_arguments() -> list[str]:
    """The shared service is a whole one, with HTTP."""
    return []


def _token(ask: Ask, *arguments: str) -> dict[str, str]:
    made = ask("token", *arguments)
    assert made.exit_code == 0, made.stderr
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def _post(service: Service, path: str, headers: dict[str, str]) -> Any:
    answer = httpx2.post(service.url + path, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_newcomer_sees_the_specifications_example(service: Service, ask: Ask) -> None:
    """45 of 120, then 0 of 75, as the README says; two requests at once share one job and its answer."""
    mine = _token(ask)
    expected = {"message": "Categorized 45 out of 120 transactions", "categorized": 45, "total": 120, "spaces": 1}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: _post(service, CATEGORIZE, mine), range(2)))
    assert expected in answers
    stats = httpx2.get(service.url + "/admin/queues/stats", headers=_token(ask, "--admin")).json()
    row = next(row for row in stats if row["name"] == "categorize-transactions")
    assert list(row) == ["name", "waiting", "active", "completed", "failed", "delayed"]
    # Joined, or just after the first had ended: never two runs side by side.
    assert answers == [expected, expected] if row["completed"] == 1 else answers.count(expected) == 1
    again = _post(service, CATEGORIZE, mine)
    assert again["message"] == "Categorized 0 out of 75 transactions"


def test_it_says_where_everything_is(service: Service) -> None:
    """The address, the token command, the server's socket and the data directory; and the socket answers."""
    text = "\n".join(service.stdout)
    assert re.search(r"address +http://127\.0\.0\.1:\d+$", text, re.M)
    assert " token " in text
    path = re.search(r"redis-cli -s (\S+)", text)
    assert path
    assert stat.S_ISSOCK(Path(path[1]).stat().st_mode)
    assert service.environ["JOBS_DATA_DIR"] in text


def test_sigterm_drains_and_exits_0(start_service: StartService) -> None:
    """A signal ends workers, HTTP and our own server; nothing is left behind."""
    service = start_service().wait_ready()
    pid = int(Path(service.environ["JOBS_DATA_DIR"], "redis", "redis.pid").read_text())
    assert service.end() == 0
    assert not Path(f"/proc/{pid}").exists()
    assert "Traceback" not in service.logs


def test_ctrl_c_exits_0(start_service: StartService) -> None:
    """Ctrl-C is as good as SIGTERM."""
    assert start_service().wait_ready().end(signal.SIGINT) == 0


def test_a_taken_port_is_said_before_anything_starts(start_service: StartService) -> None:
    """Another listener on the port: exit code 1, the variable named, and no server was started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start_service(HTTP_PORT=str(port))
        assert service.wait() == 1
    assert str(port) in service.logs
    assert not Path(service.environ["JOBS_DATA_DIR"], "redis", "redis.pid").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY", "abc"),
        ("QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY", "0"),
        ("QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY", "5.5"),
        ("QUEUE_EMAILS_CONCURRENCY", "5"),
        ("JOBS_WAIT_S", "soon"),
        ("JOBS_TIMEZONE", "Mexico"),
    ],
)
def test_a_bad_setting_does_not_start(call: Ask, name: str, value: str) -> None:
    """The variable, what was found and what is wanted; exit code 2; no trace."""
    done = call("up", "--embedded", **{name: value})
    assert done.exit_code == 2
    assert name in done.stderr
    assert "wanted" in done.stderr
    assert "Traceback" not in done.output


def test_secrets_are_made_once_and_never_shown(start_service: StartService) -> None:
    """The kept secrets have mode 0600, are the same at the next start, and stand in no log."""
    service = start_service().wait_ready()
    directory = Path(service.environ["JOBS_DATA_DIR"])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    kept = [path for path in directory.rglob("*") if path.is_file() and "secret" in path.name.lower()]
    kept += [path for path in directory.rglob("*") if path.is_file() and path.name.lower().endswith("key")]
    assert kept
    secrets = {path: path.read_text().strip() for path in kept}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    service.end()
    second = start_service().wait_ready()
    second.end()
    assert {path: path.read_text().strip() for path in kept} == secrets
    assert not any(secret in service.logs + second.logs for secret in secrets.values())


def test_a_missing_secret_is_an_error_where_the_redis_is_given(call: Ask) -> None:
    """Secrets are made by us in embedded mode only."""
    done = call("up", REDIS_URL="redis://127.0.0.1:1")
    assert done.exit_code == 2
    assert "JWT_SECRET" in done.stderr
    assert "ENCRYPTION_KEY" in done.stderr


def test_a_killed_service_leaves_its_jobs_to_the_next(start_service: StartService, command: RunCommand) -> None:
    """kill -9: the server left behind is adopted, what was stored is still there, and the service works again."""
    first = start_service("--no-workers").wait_ready()
    stored = command("enqueue", "categorize-transactions", "categorize-transactions", '{"spaceId": "space_123"}')
    assert stored.returncode == 0, stored.stderr
    pid = Path(first.environ["JOBS_DATA_DIR"], "redis", "redis.pid").read_text()
    first.process.kill()
    first.wait()
    start_service().wait_ready()
    assert Path(first.environ["JOBS_DATA_DIR"], "redis", "redis.pid").read_text() == pid
    result = command(
        "enqueue",
        "categorize-transactions",
        "categorize-transactions",
        '{"spaceId": "space_123"}',
        "--id",
        stored.stdout.strip() + "x",
        "--wait",
        "30",
    )
    assert result.returncode == 0, result.stderr
    shown = json.loads(command("job", "categorize-transactions", stored.stdout.strip(), "--json").stdout)
    assert shown["state"] == "completed"
    assert shown["result"]["categorized"] == 45


def test_a_second_service_on_the_same_data_is_refused(service: Service, command: RunCommand) -> None:
    """The directory has one owner; the message names it."""
    second = command("up", "--embedded", JOBS_DATA_DIR=service.environ["JOBS_DATA_DIR"])
    assert second.returncode == 1
    assert str(service.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_two_stores_do_not_share_a_redis_by_accident(service: Service, command: RunCommand) -> None:
    """A service whose store is not the one that the prefix works on refuses to start and names the ways out."""
    socket_path = re.search(r"redis-cli -s (\S+)", "\n".join(service.stdout))
    assert socket_path
    other = command(
        "up",
        "--no-http",
        REDIS_URL=f"unix://{socket_path[1]}",
        JWT_SECRET="s" * 40,
        ENCRYPTION_KEY="k" * 32,
    )
    assert other.returncode == 1
    assert "--embedded" in other.stderr
    assert "JOBS_PREFIX" in other.stderr


@pytest.mark.parametrize("arguments", [("--queues", "emails"), ("--no-http", "--no-workers"), ("--port", "99999")])
def test_bad_usage_is_exit_code_2(call: Ask, arguments: tuple[str, ...]) -> None:
    """Unknown queues and senseless combinations are refused before anything is touched."""
    done = call("up", "--embedded", *arguments)
    assert done.exit_code == 2
    assert done.stderr
