"""Lists and operators' verbs by command, on one running service: what they print and do, and their exit codes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Engine
from dhanam_jobs.handlers.queues import QUEUE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ask, RunCommand, Service, StartService

NAME = "categorize-transactions"
GOOD = '{"spaceId": "space_123"}'
BAD = '{"spaceId": "nowhere"}'


@pytest.fixture(autouse=True)
def empty_queue(ask: Ask) -> None:
    """Each test begins with a queue that runs and holds nothing."""
    ask("resume", NAME)
    assert ask("clear", NAME, "--yes", "--force").exit_code == 0


def told(ask: Ask, *arguments: str) -> Any:
    """What a command that did well says in JSON."""
    done = ask(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def enqueue(ask: Ask, payload: str, *options: str) -> str:
    """A stored job's id."""
    return str(told(ask, "enqueue", NAME, NAME, payload, *options)["id"])


def fail_one(ask: Ask, job_id: str) -> None:
    """A job that has failed for good."""
    assert ask("enqueue", NAME, NAME, BAD, "--id", job_id, "--wait", "30").exit_code == 1


def state_of(ask: Ask, job_id: str) -> str:
    """The state of a job."""
    return str(told(ask, "job", NAME, job_id)["state"])


def listed_in_pages(ask: Ask, size: int) -> list[str]:
    """The ids of all jobs, asked for so many at a time."""
    listed: list[str] = []
    more: tuple[str, ...] = ()
    while True:
        page = told(ask, "jobs", NAME, "--limit", str(size), *more)
        assert len(page["jobs"]) <= size
        listed += [job["id"] for job in page["jobs"]]
        if page["cursor"] is None:
            return listed
        more = ("--cursor", page["cursor"])


def test_jobs_of_all_states_are_listed_page_by_page(ask: Ask) -> None:
    """Active first; each job once, however small the pages; filters and states narrow it."""
    fail_one(ask, "bad")
    ask("enqueue", NAME, NAME, GOOD, "--id", "done", "--wait", "30")
    for number in range(3):
        enqueue(ask, f'{{"spaceId": "later{number}"}}', "--id", f"later{number}", "--delay", "1h")
    for size in (1, 2, 3, 5, 50):
        assert listed_in_pages(ask, size) == ["later0", "later1", "later2", "bad", "done"]
    assert [job["id"] for job in told(ask, "jobs", NAME, "--state", "failed")["jobs"]] == ["bad"]
    assert [job["id"] for job in told(ask, "jobs", NAME, "--text", "later1")["jobs"]] == ["later1"]
    shown = ask("jobs", NAME, "--limit", "1")
    assert "later0" in shown.stdout
    assert "--cursor" in shown.stderr
    assert ask("jobs", NAME, "--cursor", "rubbish").exit_code == 2


def test_what_looks_like_a_secret_is_hidden_but_from_raw(ask: Ask) -> None:
    """In lists and in one job, for people and for programs."""
    canary = "canary-4711"
    letter = {"to": "ana@example.org", "template": "welcome", "data": {"token": canary, "name": "Ana"}}
    queue, name = "email-notifications", "send-email"
    done = ask("enqueue", queue, name, json.dumps(letter), "--id", "letter", "--delay", "1h")
    assert done.exit_code == 0, done.output
    for look in (("jobs", queue), ("job", queue, "letter"), ("events", queue), ("top", "--once")):
        for form in ((), ("--json",)):
            shown = ask(*look, *form)
            assert shown.exit_code == 0, shown.output
            assert canary not in shown.output
    assert canary in ask("job", queue, "letter", "--raw", "--json").stdout
    assert "[REDACTED]" in ask("job", queue, "letter").stdout
    assert ask("remove", queue, "letter").exit_code == 0


def test_nothing_that_a_job_says_steers_the_terminal(ask: Ask) -> None:
    """Escape sequences are made harmless, and what looks like markup is shown as it is."""
    enqueue(ask, GOOD, "--id", "[red]x", "--delay", "1h")
    assert ask("cancel", NAME, "[red]x", "--reason", "\x1b[31mred\x9b2J").exit_code == 0
    for look in (("jobs", NAME), ("job", NAME, "[red]x"), ("events", NAME)):
        shown = ask(*look)
        assert "[red]x" in shown.stdout
        assert "\x1b" not in shown.output
        assert "\x9b" not in shown.output


def test_a_job_says_why_it_has_not_run(ask: Ask) -> None:
    """Paused, delayed, or its key held."""
    ask("pause", NAME)
    enqueue(ask, GOOD, "--id", "first", "--key", "k")
    enqueue(ask, BAD, "--id", "second", "--key", "k")
    assert re.search(r"^why +queue .* has been paused", ask("job", NAME, "first").stdout, re.M)
    reasons = told(ask, "job", NAME, "second")["why"]
    assert "key_held" in [reason["code"] for reason in reasons]


def test_ended_jobs_run_again_by_id_and_all_of_them(ask: Ask) -> None:
    """What can't be retried is told, and the others are."""
    for job_id in ("a", "b"):
        fail_one(ask, job_id)
    ask("pause", NAME)
    some = ask("retry", NAME, "a", "nothing", "--json")
    assert some.exit_code == 1
    assert json.loads(some.stdout)["retried"] == 1
    assert "nothing" in some.stderr
    assert state_of(ask, "a") == "waiting"
    assert told(ask, "retry", NAME, "--all") == {"queue": NAME, "retried": 1, "problems": {}}
    assert state_of(ask, "b") in ("waiting", "blocked")
    for wrong in ((), ("a", "--all"), ("a", "--state", "dead"), ("--all", "--state", "waiting")):
        assert ask("retry", NAME, *wrong).exit_code == 2


def test_delayed_jobs_are_promoted_cancelled_and_removed(ask: Ask) -> None:
    """By id; a verb that has no meaning for a job says so."""
    fail_one(ask, "ended")
    ask("pause", NAME)
    for number in range(4):
        enqueue(ask, f'{{"spaceId": "s{number}"}}', "--id", f"j{number}", "--delay", "1h")
    assert ask("promote", NAME, "j0").exit_code == 0
    assert state_of(ask, "j0") == "waiting"
    again = ask("promote", NAME, "j0")
    assert again.exit_code == 1
    assert re.search(r"j0 .*waiting.* delayed", again.stderr)
    assert told(ask, "cancel", NAME, "j1", "--reason", "not needed")["cancelled"] == 1
    assert "not needed" in ask("job", NAME, "j1").stdout
    late = ask("cancel", NAME, "ended")
    assert late.exit_code == 1
    assert "had ended before: failed" in late.stderr
    assert ask("cancel", NAME, "nothing").exit_code == 1
    assert told(ask, "remove", NAME, "j2")["removed"] == 1
    assert ask("job", NAME, "j2").exit_code == 1
    assert told(ask, "promote", NAME, "--all")["promoted"] == 1
    assert told(ask, "empty", NAME)["removed"] == 2


def test_queues_are_emptied_cleaned_and_cleared(ask: Ask) -> None:
    """Ages and numbers as asked for; clear only where it is meant."""
    fail_one(ask, "old")
    ask("pause", NAME)
    enqueue(ask, GOOD, "--delay", "1h")
    assert told(ask, "clean", NAME, "--state", "failed", "--older-than", "1h")["removed"] == 0
    assert told(ask, "clean", NAME, "--state", "failed", "--limit", "5")["removed"] == 1
    assert ask("clean", NAME, "--state", "failed", "--older-than", "soon").exit_code == 2
    assert ask("clean", NAME, "--state", "active").exit_code == 2
    assert told(ask, "empty", NAME)["removed"] == 0
    assert told(ask, "empty", NAME, "--delayed")["removed"] == 1
    enqueue(ask, GOOD)
    unsure = ask("clear", NAME)
    assert unsure.exit_code == 2
    assert "--yes" in unsure.stderr
    assert told(ask, "clear", NAME, "--yes")["removed"] == 1


def test_dead_letters_are_counted_listed_replayed_and_deleted(ask: Ask, service: Service) -> None:
    """What retention took from the failed records."""

    async def fail_many() -> None:
        socket = f"unix://{service.environ['JOBS_DATA_DIR']}/redis/redis.sock"
        async with Engine.connect(socket) as engine:
            jobs = await engine.queue(NAME).enqueue_many([(NAME, {"spaceId": f"no{n}"}) for n in range(53)])
            await asyncio.gather(*(job.result(30) for job in jobs), return_exceptions=True)

    asyncio.run(fail_many())
    assert told(ask, "dead")[NAME] == 3
    assert NAME in ask("dead").stdout
    letters = told(ask, "dead", NAME, "--limit", "2")
    assert len(letters["jobs"]) == 2
    ask("pause", NAME)
    assert told(ask, "retry", NAME, letters["jobs"][0]["id"])["retried"] == 1
    assert told(ask, "retry", NAME, "--all", "--state", "dead", "--text", letters["jobs"][1]["id"])["retried"] == 1
    assert told(ask, "clean", NAME, "--state", "dead")["removed"] == 1
    assert told(ask, "dead")[NAME] == 0
    assert ask("dead", "--name", "x").exit_code == 2


def test_workers_and_schedules_are_listed(ask: Ask, service: Service) -> None:
    """Each queue's worker with its process; each schedule with its next fire."""
    (process,) = told(ask, "workers")
    assert process["pid"] == service.process.pid
    assert NAME in process["queues"]
    assert f"{process['host']}:{process['pid']}" in ask("workers").stdout
    names = [row["schedule"]["name"] for row in told(ask, "schedules")]
    assert "categorize-new-transactions" in names
    assert all(row["next_ms"] for row in told(ask, "schedules"))
    assert "categorize-new-transactions" in ask("schedules").stdout


def test_a_schedule_is_paused_resumed_and_run_now(ask: Ask) -> None:
    """A second pause changes nothing; one that isn't there is told."""
    name = "categorize-new-transactions"
    assert told(ask, "schedule", "pause", name)["changed"] is True
    assert told(ask, "schedule", "pause", name)["changed"] is False
    assert "paused" in ask("schedules").stdout
    assert ask("schedule", "resume", name).stdout == f"{name} is resumed\n"
    ran = ask("schedule", "run", name, "--wait", "30")
    assert ran.exit_code == 0, ran.output
    json.loads(ran.stdout)
    for verb in ("run", "pause", "resume"):
        missing = ask("schedule", verb, "nothing")
        assert missing.exit_code == 1
        assert "nothing" in missing.stderr


def test_events_tell_a_jobs_life(ask: Ask) -> None:
    """The last ones, the oldest first, one line each."""
    ask("enqueue", NAME, NAME, GOOD, "--id", "alive", "--wait", "30")
    life = [event["event"] for event in told(ask, "events", NAME) if event.get("job_id") == "alive"]
    assert life == ["waiting", "active", "completed"]
    (last,) = told(ask, "events", NAME, "--limit", "1")
    assert last["event"] == "completed"
    assert re.search(rf"Z {NAME} +completed +alive$", ask("events").stdout, re.M)


def test_events_are_followed_from_now_on(ask: Ask, service: Service) -> None:
    """One JSON document a line, as it happens; Ctrl-C ends it well."""
    following = subprocess.Popen(
        [sys.executable, "-m", "dhanam_jobs", "events", NAME, "--follow", "--json"],
        env=service.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert following.stderr is not None
    try:
        assert following.stderr.readline() == "following\n"
        enqueue(ask, GOOD, "--id", "seen")
        assert [json.loads(following.stdout.readline())["event"] for _ in range(3)] == [
            *("waiting", "active", "completed")
        ]
    finally:
        following.send_signal(2)
        with following:
            assert following.wait(30) == 0


def test_top_shows_one_moment_without_a_terminal(ask: Ask) -> None:
    """For people and for programs; the live view needs a terminal, and says so."""
    fail_one(ask, "failing")
    frame = told(ask, "top", "--once")
    assert [row["name"] for row in frame["queues"]][1] == NAME
    assert frame["failing"][0]["reason"] == "Discard"
    shown = ask("top", "--once")
    for word in (NAME, "workers", "slowest", "failing", "Discard"):
        assert word in shown.stdout
    live = ask("top")
    assert live.exit_code == 2
    assert "--once" in live.stderr


QUEUE_COMMANDS: list[Callable[[str], tuple[str, ...]]] = [
    lambda queue: ("jobs", queue),
    lambda queue: ("job", queue, "x"),
    lambda queue: ("dead", queue),
    lambda queue: ("events", queue),
    lambda queue: ("pause", queue),
    lambda queue: ("resume", queue),
    lambda queue: ("retry", queue, "x"),
    lambda queue: ("promote", queue, "--all"),
    lambda queue: ("cancel", queue, "x"),
    lambda queue: ("remove", queue, "x"),
    lambda queue: ("empty", queue),
    lambda queue: ("clean", queue, "--state", "failed"),
    lambda queue: ("clear", queue, "--yes"),
    lambda queue: ("enqueue", queue, NAME, "{}"),
]


@pytest.mark.parametrize("arguments", QUEUE_COMMANDS, ids=lambda made: made("Q")[0])
def test_an_unknown_queue_is_told_with_those_that_there_are(
    ask: Ask, arguments: Callable[[str], tuple[str, ...]]
) -> None:
    """Exit code 1, and nothing on stdout."""
    done = ask(*arguments("emails"))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "'emails' is unknown" in done.stderr
    assert "email-notifications" in done.stderr


def test_doctor_finds_a_running_service_well_and_notes_what_it_sees(ask: Ask) -> None:
    """Every part is named; what is worth knowing comes with what to do."""
    ask("pause", NAME)
    findings = told(ask, "doctor")
    assert {"settings", "data", "store", "redis", "workers", "queues", "mail"} <= {row["part"] for row in findings}
    assert not [row for row in findings if row["state"] == "wrong"]
    (paused,) = [row for row in findings if row["part"] == "queues"]
    assert paused["state"] == "note"
    assert f"resume {NAME}" in paused["advice"]
    assert "all is well" in ask("doctor").stdout


def test_doctor_says_what_to_do_where_nothing_runs_or_a_setting_is_bad(command: RunCommand) -> None:
    """Exit code 1; the variable, the server and the way out are named; no trace, no secret."""
    secret = "canary-" + "x" * 30
    given = {"REDIS_URL": "redis://:hidden@127.0.0.1:1/0", "JWT_SECRET": secret, "ENCRYPTION_KEY": "k" * 32}
    absent = command("doctor", "--json", **given, SMTP_HOST="127.0.0.1", SMTP_PORT="1")
    assert absent.returncode == 1
    wrong = {row["part"]: row for row in json.loads(absent.stdout) if row["state"] == "wrong"}
    assert set(wrong) == {"redis", "mail"}
    assert "REDIS_URL" in wrong["redis"]["advice"]
    assert "SMTP_HOST" in wrong["mail"]["advice"]
    bad = command("doctor", HTTP_PORT="many")
    assert bad.returncode == 1
    assert "HTTP_PORT" in bad.stdout
    assert "wanted" in bad.stdout
    for done in (absent, bad):
        assert "Traceback" not in done.stderr
        assert secret not in done.stdout + done.stderr
        assert "hidden" not in done.stdout + done.stderr


def test_doctor_finds_a_process_that_gives_no_sign_of_life(start_service: StartService, command: RunCommand) -> None:
    """Where nobody else is left to note it, a dead process stays in the list: the time of its beats tells."""
    service = start_service("--no-http").wait_ready()
    service.process.send_signal(signal.SIGSTOP)
    try:
        for queue in QUEUE_NAMES:
            (worker,) = command("redis", "ZRANGE", f"jobs:{{{queue}}}:workers", "0", "-1").stdout.split()[-1:]
            assert command("redis", "ZINCRBY", f"jobs:{{{queue}}}:workers", "-60000", worker).returncode == 0
        sick = command("doctor", "--json")
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert sick.returncode == 1
    silent, nobody = [row for row in json.loads(sick.stdout) if row["part"] == "workers"]
    assert f":{service.process.pid} has given no sign of life for" in silent["text"]
    assert "`up`" in silent["advice"]
    assert nobody["text"] == "no worker is alive"


def test_a_supervisor_is_drained_by_command(start_service: StartService, command: RunCommand) -> None:
    """Its workers leave, its queues aren't paused, what is enqueued waits; an unknown one is told; doctor notices."""
    service = start_service("--no-http").wait_ready()
    unknown = command("drain", "nowhere:1")
    assert unknown.returncode == 1
    assert f":{service.process.pid}" in unknown.stderr
    done = command("drain", str(service.process.pid), "--wait", "30")
    assert done.returncode == 0, done.stderr
    assert "has drained" in done.stdout
    assert json.loads(command("workers", "--json").stdout) == []
    assert command("drain").returncode == 1
    sick = command("doctor")
    assert sick.returncode == 1
    assert "no worker is alive" in sick.stdout


def test_enqueue_says_where_the_job_was_there_already(ask: Ask) -> None:
    """By its id, or by its key and payload: stdout has the id as ever, stderr that nothing was stored."""
    ask("pause", NAME)
    first = ask("enqueue", NAME, NAME, GOOD, "--id", "mine", "--key", "k")
    assert (first.stdout, first.stderr) == ("mine\n", "")
    for payload, *again in ((BAD, "--id", "mine"), (GOOD, "--key", "k")):
        done = ask("enqueue", NAME, NAME, payload, *again)
        assert (done.exit_code, done.stdout) == (0, "mine\n")
        assert done.stderr == "mine was there already; nothing new was stored\n"


@pytest.mark.parametrize("payload", ["{", "[" * 100_000, '"\udcff"', ""])
def test_a_payload_that_is_no_json_is_bad_usage(ask: Ask, payload: str) -> None:
    """Whatever is wrong with it: exit code 2 and one line, no trace."""
    done = ask("enqueue", NAME, NAME, payload)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is no JSON" in done.stderr


def test_what_a_letter_about_passwords_lacks_is_named(ask: Ask) -> None:
    """Its template's name is no secret, and doesn't hide the rest of the sentence."""
    done = ask("enqueue", "email-notifications", "send-email", '{"to": "a@b.test", "template": "password-changed"}')
    assert done.exit_code == 1
    assert "missing required field" in done.stderr
    assert "REDACTED" not in done.stderr
