"""The other commands, against a running service: what they print, where, and their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click.testing
import pytest

from dhanam_jobs.cli import COMMANDS, SUMMARIES, cli

if TYPE_CHECKING:
    from tests.cli.conftest import Ask, RunCommand

NAME = "categorize-transactions"


def test_token_prints_a_token_and_nothing_else(ask: Ask) -> None:
    """One line, three parts; nothing on stderr, so that a shell can use it."""
    made = ask("token")
    assert made.exit_code == 0
    assert made.stderr == ""
    assert made.stdout.count("\n") == 1
    assert made.stdout.count(".") == 2
    unknown = ask("token", "--user", "nobody")
    assert unknown.exit_code == 1
    assert unknown.stdout == ""
    assert "nobody" in unknown.stderr
    assert ask("token", "--user", "user_maria", "--admin").exit_code == 1


def test_a_job_goes_in_runs_and_is_shown(ask: Ask) -> None:
    """enqueue --wait prints the result, job the job, stats the counts; an unknown queue, name or payload is told."""
    assert ask("demo", "reset").exit_code == 0
    before = {row["name"]: row for row in json.loads(ask("stats", "--json").stdout)}
    done = ask(
        "enqueue",
        NAME,
        NAME,
        '{"type": "categorize-transactions", "payload": {"spaceId": "space_123"}}',
        "--id",
        "mine",
        "--wait",
        "30",
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["total"] == 120
    shown = json.loads(ask("job", NAME, "mine", "--json").stdout)
    assert (shown["state"], shown["name"], shown["attempt"]) == ("completed", NAME, 1)
    assert "completed" in ask("job", NAME, "mine").stdout
    counts = {row["name"]: row for row in json.loads(ask("stats", "--json").stdout)}
    assert counts[NAME]["completed"] == before[NAME]["completed"] + 1
    assert NAME in ask("stats").stdout
    failed = ask("enqueue", NAME, NAME, '{"spaceId": "nowhere"}', "--wait", "30")
    assert failed.exit_code == 1
    assert "nowhere" in failed.stderr
    assert ask("job", NAME, "nothing").exit_code == 1
    assert ask("enqueue", "emails", NAME, "{}").exit_code == 1
    assert ask("enqueue", NAME, "categorise", "{}").exit_code == 1
    assert ask("enqueue", NAME, NAME, '{"spaceId": 1}').exit_code == 1
    no_json = ask("enqueue", NAME, NAME, "{")
    assert no_json.exit_code == 2
    assert "Traceback" not in failed.stderr + no_json.stderr


def test_a_paused_queue_starts_nothing_until_it_is_resumed(ask: Ask) -> None:
    """pause and resume by command; the job that waited then runs."""
    assert ask("demo", "reset").exit_code == 0
    assert ask("pause", NAME).exit_code == 0
    waiting = ask("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--id", "later", "--wait", "0.5")
    assert waiting.exit_code == 1
    assert "had not ended" in waiting.stderr
    assert json.loads(ask("job", NAME, "later", "--json").stdout)["state"] == "waiting"
    assert ask("resume", NAME).exit_code == 0
    ended = ask("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--id", "later", "--wait", "30")
    assert json.loads(ended.stdout)["categorized"] == 45


def test_a_statement_comes_in_once(ask: Ask, tmp_path: Path) -> None:
    """load and import: twice the same file adds nothing, a bad row is told by line and kept out."""
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
    loaded = ask("load", str(books))
    assert loaded.exit_code == 0, loaded.stderr
    statement = tmp_path / "estado.csv"
    statement.write_text(
        "Fecha;Descripción;Importe\n31/01/2026;OXXO;-45,50\n31/01/2026;OXXO;-45,50\n30/01/2026;Nómina;12.000,00\n",
        encoding="cp1252",
    )
    first = ask("import", str(statement), "--space", "s1")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("3 new, 0 known, 0 bad")
    assert ask("import", str(statement), "--space", "s1").stdout.startswith("0 new, 3 known, 0 bad")
    with statement.open("a", encoding="cp1252") as file:
        file.write("29/01/2026;Roto;1,2,3\n")
    bad = ask("import", str(statement), "--space", "s1")
    assert bad.exit_code == 1
    assert "line 5" in bad.stderr.lower()
    assert ask("import", str(statement), "--space", "nowhere").exit_code == 1


def test_the_small_redis_cli_sends_and_shows(ask: Ask) -> None:
    """One command as arguments, several on stdin; an error is exit code 1."""
    assert ask("redis", "PING").stdout == "PONG\n"
    several = ask("redis", stdin='SET a "b c"\nGET a\nLRANGE none 0 -1\n')
    assert several.stdout == "OK\nb c\n(empty array)\n"
    wrong = ask("redis", "NOSUCH")
    assert wrong.exit_code == 1
    assert "NOSUCH" in wrong.stderr


def test_inspect_finds_the_queues_sound_and_names_damage(ask: Ask) -> None:
    """Exit code 0 where all is well, 1 and the damage where a key was changed by hand."""
    ask("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--wait", "30")
    sound = ask("inspect")
    assert sound.exit_code == 0, sound.stdout
    ask("redis", "HSET", f"jobs:{{{NAME}}}:index", "ghost", "delayed 000000000000001:ghost")
    damaged = ask("inspect", "--json")
    assert damaged.exit_code == 1
    assert any("ghost" in problem for problem in json.loads(damaged.stdout)[NAME])


def test_commands_say_when_nothing_runs(command: RunCommand) -> None:
    """Without a server the message names what to do, not a stack trace."""
    done = command("stats", REDIS_URL="redis://127.0.0.1:1/0", JWT_SECRET="s" * 40, ENCRYPTION_KEY="k" * 32)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_help_lists_every_command_and_each_teaches_by_example() -> None:
    """`--help` names every command once, with a line on each; its own help shows a call of it."""
    runner = click.testing.CliRunner()
    text = runner.invoke(cli, ["--help"]).stdout
    listed = [name for section in SUMMARIES.values() for name in section]
    assert sorted(listed) == sorted(COMMANDS)
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} +\S", text, re.M)) == 1
        told = runner.invoke(cli, [name, "--help"], prog_name="dhanam-jobs")
        assert told.exit_code == 0, told.output
        assert re.search(rf"dhanam-jobs {name}\b", told.stdout.partition("\n")[2]), f"{name} shows no example"


def test_help_loads_no_command() -> None:
    """So that it opens at once: no engine, no handlers, no HTTP, no SQL."""
    program = "from dhanam_jobs.cli import cli; cli(['--help'], standalone_mode=False)"
    program = f"import sys; {program}; print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "dhanam_jobs.cli" in loaded
    assert (
        not {"dhanam_jobs.engine", "dhanam_jobs.handlers", "dhanam_jobs.http", "sqlalchemy", "rich", "redis"} & loaded
    )


def test_the_manual_knows_every_command() -> None:
    """docs/cli.md has each command, and no other."""
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z]+)", manual, re.M)) == set(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_taught_to_complete(shell: str) -> None:
    """The script asks this very program."""
    told = click.testing.CliRunner().invoke(cli, ["completion", shell])
    assert told.exit_code == 0
    assert "_DHANAM_JOBS_COMPLETE" in told.stdout


def test_commands_options_and_queues_are_completed(command: RunCommand) -> None:
    """As a shell asks for them."""

    def completed(*words: str) -> list[str]:
        line = " ".join(("dhanam-jobs", *words))
        asked = {"_DHANAM_JOBS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return [row.partition(",")[2] for row in command(**asked).stdout.splitlines()]

    assert completed("sched") == ["schedules", "schedule"]
    assert completed("jobs", "e") == ["esg-updates", "email-notifications"]
    assert completed("clean", "esg-updates", "--older") == ["--older-than"]
