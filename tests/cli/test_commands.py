"""The other commands, against a running service: what they print, where, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand, StartService

NAME = "categorize-transactions"


def test_token_prints_a_token_and_nothing_else(start_service: StartService, command: RunCommand) -> None:
    """One line, three parts; nothing on stderr, so that a shell can use it."""
    start_service("--no-http").wait_ready()
    made = command("token")
    assert made.returncode == 0
    assert made.stderr == ""
    assert made.stdout.count("\n") == 1
    assert made.stdout.count(".") == 2
    unknown = command("token", "--user", "nobody")
    assert unknown.returncode == 1
    assert unknown.stdout == ""
    assert "nobody" in unknown.stderr
    assert command("token", "--user", "user_maria", "--admin").returncode == 1


def test_a_job_goes_in_runs_and_is_shown(start_service: StartService, command: RunCommand) -> None:
    """enqueue --wait prints the result, job the job, stats the counts; an unknown queue, name or payload is told."""
    start_service("--no-http").wait_ready()
    done = command(
        "enqueue",
        NAME,
        NAME,
        '{"type": "categorize-transactions", "payload": {"spaceId": "space_123"}}',
        "--id",
        "mine",
        "--wait",
        "30",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] == 120
    shown = json.loads(command("job", NAME, "mine", "--json").stdout)
    assert (shown["state"], shown["name"], shown["attempt"]) == ("completed", NAME, 1)
    assert "completed" in command("job", NAME, "mine").stdout
    counts = {row["name"]: row for row in json.loads(command("stats", "--json").stdout)}
    assert counts[NAME]["completed"] == 1
    assert NAME in command("stats").stdout
    failed = command("enqueue", NAME, NAME, '{"spaceId": "nowhere"}', "--wait", "30")
    assert failed.returncode == 1
    assert "nowhere" in failed.stderr
    assert command("job", NAME, "nothing").returncode == 1
    assert command("enqueue", "emails", NAME, "{}").returncode == 1
    assert command("enqueue", NAME, "categorise", "{}").returncode == 1
    assert command("enqueue", NAME, NAME, '{"spaceId": 1}').returncode == 1
    no_json = command("enqueue", NAME, NAME, "{")
    assert no_json.returncode == 2
    assert "Traceback" not in failed.stderr + no_json.stderr


def test_a_paused_queue_starts_nothing_until_it_is_resumed(start_service: StartService, command: RunCommand) -> None:
    """pause and resume by command; the job that waited then runs."""
    start_service("--no-http").wait_ready()
    assert command("pause", NAME).returncode == 0
    waiting = command("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--id", "later", "--wait", "0.5")
    assert waiting.returncode == 1
    assert "had not ended" in waiting.stderr
    assert json.loads(command("job", NAME, "later", "--json").stdout)["state"] == "waiting"
    assert command("resume", NAME).returncode == 0
    ended = command("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--id", "later", "--wait", "30")
    assert json.loads(ended.stdout)["categorized"] == 45


def test_a_statement_comes_in_once(start_service: StartService, command: RunCommand, tmp_path: Path) -> None:
    """load and import: twice the same file adds nothing, a bad row is told by line and kept out."""
    start_service("--no-http").wait_ready()
    books = tmp_path / "books.json"
    books.write_text(
        json.dumps(
            {
                "users": [{"id": "u1", "email": "ana@example.org", "name": "Ana"}],
                "spaces": [{"id": "s1", "name": "Casa", "type": "personal"}],
                "members": [{"userId": "u1", "spaceId": "s1", "role": "owner"}],
                "accounts": [
                    {
                        "id": "a1",
                        "spaceId": "s1",
                        "provider": "manual",
                        "name": "Cuenta",
                        "type": "checking",
                        "currency": "MXN",
                    }
                ],
            }
        )
    )
    loaded = command("load", str(books))
    assert loaded.returncode == 0, loaded.stderr
    statement = tmp_path / "estado.csv"
    statement.write_text(
        "Fecha;Descripción;Importe\n31/01/2026;OXXO;-45,50\n31/01/2026;OXXO;-45,50\n30/01/2026;Nómina;12.000,00\n",
        encoding="cp1252",
    )
    first = command("import", str(statement), "--space", "s1")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("3 new, 0 known, 0 bad")
    assert command("import", str(statement), "--space", "s1").stdout.startswith("0 new, 3 known, 0 bad")
    with statement.open("a", encoding="cp1252") as file:
        file.write("29/01/2026;Roto;1,2,3\n")
    bad = command("import", str(statement), "--space", "s1")
    assert bad.returncode == 1
    assert "line 5" in bad.stderr.lower()
    assert command("import", str(statement), "--space", "nowhere").returncode == 1


def test_the_small_redis_cli_sends_and_shows(start_service: StartService, command: RunCommand) -> None:
    """One command as arguments, several on stdin; an error is exit code 1."""
    start_service("--no-http").wait_ready()
    assert command("redis", "PING").stdout == "PONG\n"
    several = command("redis", stdin='SET a "b c"\nGET a\nLRANGE none 0 -1\n')
    assert several.stdout == "OK\nb c\n(empty array)\n"
    wrong = command("redis", "NOSUCH")
    assert wrong.returncode == 1
    assert "NOSUCH" in wrong.stderr


def test_inspect_finds_the_queues_sound_and_names_damage(start_service: StartService, command: RunCommand) -> None:
    """Exit code 0 where all is well, 1 and the damage where a key was changed by hand."""
    start_service("--no-http").wait_ready()
    command("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--wait", "30")
    sound = command("inspect")
    assert sound.returncode == 0, sound.stdout
    command("redis", "HSET", f"jobs:{{{NAME}}}:index", "ghost", "delayed 000000000000001:ghost")
    damaged = command("inspect", "--json")
    assert damaged.returncode == 1
    assert any("ghost" in problem for problem in json.loads(damaged.stdout)[NAME])


def test_commands_say_when_nothing_runs(command: RunCommand) -> None:
    """Without a server the message names what to do, not a stack trace."""
    done = command("stats", REDIS_URL="redis://127.0.0.1:1/0", JWT_SECRET="s" * 40, ENCRYPTION_KEY="k" * 32)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_help_lists_every_command(command: RunCommand) -> None:
    """--help teaches by example and names every command; each has a help of its own."""
    text = command("--help").stdout
    for name in ("up", "token", "load", "import", "stats", "job", "inspect", "redis", "enqueue", "demo"):
        assert f"\n  {name} " in text
        assert command(name, "--help").returncode == 0
