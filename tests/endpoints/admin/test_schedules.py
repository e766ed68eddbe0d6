"""`/admin/schedules`: what administrators see of schedules and do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Schedule

if TYPE_CHECKING:
    from tests.endpoints.admin.conftest import Stage

QUEUE = "esg-updates"
SECRET = "sesame-open"
DAILY = {"job": "obey", "cron": "0 3 * * *", "payload": {"do": "end", "n": 1}}


async def declare(stage: Stage) -> None:
    """A schedule that the service's code has."""
    ours = Schedule(name="ours", job="obey", queue=QUEUE, cron="@hourly")
    await stage.service.engine.schedules.declare([ours], owner="dhanam-jobs")


async def test_a_schedule_is_made_shown_changed_and_removed(stage: Stage) -> None:
    """What isn't said has its default; a second time nothing changes."""
    made = await stage.done("PUT", "/schedules/nightly", json=DAILY)
    assert (made["name"], made["queue"], made["job"], made["cron"]) == ("nightly", QUEUE, "obey", "0 3 * * *")
    assert (made["tz"], made["misfire"], made["overlap"], made["graceS"]) == ("UTC", "once", "allow", 60.0)
    assert (made["owner"], made["paused"], made["runs"], len(made["next"])) == ("operator", False, 0, 3)
    assert all(fire.endswith("T03:00:00.000Z") for fire in made["next"])
    assert (await stage.done("GET", "/schedules/nightly", params={"upcoming": "1"}))["next"] == made["next"][:1]
    await stage.done("PUT", "/schedules/nightly", json=DAILY)
    changed = await stage.done(
        "PUT",
        "/schedules/nightly",
        json={
            **DAILY,
            "queue": QUEUE,
            "tz": "America/Mexico_City",
            "overlap": "skip",
            "limit": 3,
            "priority": 7,
            "start": "2031-01-01T00:00:00-06:00",
            "end": "2031-12-31T00:00:00-06:00",
        },
    )
    assert changed["next"][0] == "2031-01-01T09:00:00.000Z"
    assert (changed["limit"], changed["priority"], changed["overlap"]) == (3, 7, "skip")
    listed = await stage.done("GET", "/schedules", params={"queue": QUEUE})
    assert listed == {"schedules": [changed]}
    assert await stage.done("DELETE", "/schedules/nightly") == {"name": "nightly", "removed": True}
    await stage.refused(404, "GET", "/schedules/nightly")
    told = await stage.told("Schedule", "nightly")
    assert [(action, severity, facts.get("changed")) for action, severity, facts in told] == [
        ("admin.schedule_save", "high", True),
        ("admin.schedule_save", "high", False),
        ("admin.schedule_save", "high", True),
        ("admin.schedule_remove", "high", None),
    ]


async def test_a_schedules_payload_is_shown_without_secrets_and_keeps_them(stage: Stage) -> None:
    """Sent back as it was shown, it stays as it was; the audit log never has it."""
    payload = {"do": "end", "n": 2, "api_key": SECRET}
    await stage.done("PUT", "/schedules/nightly", json={**DAILY, "payload": payload})
    shown = await stage.done("GET", "/schedules/nightly")
    assert shown["payload"] == {"do": "end", "n": 2, "api_key": "[REDACTED]"}
    await stage.done("PUT", "/schedules/nightly", json={**DAILY, "payload": {**shown["payload"], "n": 3}})
    info = await stage.service.engine.schedules.get("nightly")
    assert info is not None
    assert info.schedule.payload == {**payload, "n": 3}
    assert SECRET not in repr(await stage.entries("Schedule", "nightly"))


async def test_a_run_starts_now_once_per_request(stage: Stage) -> None:
    """Paused or not; the answer leads to the job; the schedule shows how it ended."""
    await stage.done("PUT", "/schedules/nightly", json=DAILY)
    assert await stage.done("POST", "/schedules/nightly/pause") == {"name": "nightly", "paused": True, "changed": True}
    assert (await stage.done("POST", "/schedules/nightly/pause"))["changed"] is False
    headers = {"Idempotency-Key": "a-run"}
    answers = [await stage.ask("POST", "/schedules/nightly/run", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    run = answers[0].json()
    assert answers[1].json() == run
    assert (run["queue"], answers[0].headers["Location"]) == (QUEUE, f"/jobs/{QUEUE}/{run['id']}")
    async with stage.worker():
        assert await stage.service.jobs.job(QUEUE, run["id"]).result(timeout=20) == {"n": 1}
    shown = await stage.done("GET", "/schedules/nightly")
    assert shown["paused"] is True
    assert (shown["lastId"], shown["lastState"], shown["lastRun"]["state"]) == (run["id"], "completed", "completed")
    assert shown["lastRun"]["result"] == {"n": 1}
    resumed = await stage.done("POST", "/schedules/nightly/resume")
    assert resumed == {"name": "nightly", "paused": False, "changed": True}
    told = await stage.told("Schedule", "nightly")
    assert [action for action, _, _ in told] == [
        "admin.schedule_save",
        "admin.schedule_pause",
        "admin.schedule_pause",
        "admin.schedule_run",
        "admin.schedule_resume",
    ]
    assert told[3][2] == {"queue": QUEUE, "job": run["id"], "joined": False, "outcome": "done"}


async def test_a_failed_run_is_shown_without_its_secrets(stage: Stage) -> None:
    """Neither those of the schedule's payload, nor those of the error's text."""
    await stage.done("PUT", "/schedules/nightly", json={**DAILY, "payload": {"do": "fail", "api_key": SECRET}})
    run = await stage.done("POST", "/schedules/nightly/run")
    async with stage.worker():
        await stage.ended(stage.service.jobs.job(QUEUE, run["id"]))
    shown = await stage.done("GET", "/schedules/nightly")
    assert shown["lastRun"]["failedReason"] == "as told, with token=[REDACTED] and [REDACTED]"


async def test_what_the_service_declares_is_paused_and_run_but_neither_changed_nor_removed(stage: Stage) -> None:
    """It would be as before at the next start; 409 says whose it is."""
    await declare(stage)
    message = await stage.refused(409, "PUT", "/schedules/ours", json=DAILY)
    assert "schedule 'ours' belongs to 'dhanam-jobs', not to 'operator'" in message
    message = await stage.refused(409, "DELETE", "/schedules/ours")
    assert message == "schedule 'ours' belongs to 'dhanam-jobs', which declares it at each start: pause it instead"
    assert (await stage.done("POST", "/schedules/ours/pause"))["changed"] is True
    assert (await stage.done("GET", "/schedules"))["schedules"][0]["owner"] == "dhanam-jobs"
    assert [action for action, _, _ in await stage.told("Schedule", "ours")] == ["admin.schedule_pause"]


@pytest.mark.parametrize(
    ("name", "changed", "text"),
    [
        ("s", {"cron": "61 * * * *"}, "schedule 's': cron '61 * * * *': minute: found '61', wanted 0-59"),
        ("s", {"everyS": 5}, "wanted"),
        ("s", {"cron": "0 0 30 2 *"}, "day of month: found '30'"),
        ("s", {"tz": "Mars/Olympus"}, "Mars/Olympus"),
        ("s", {"misfire": "never"}, "Invalid enum value 'never' - at `$.misfire`"),
        ("s", {"start": "2031-01-01T00:00:00"}, "at `$.start`"),
        ("s", {"start": "2031-01-02T00:00:00Z", "end": "2031-01-01T00:00:00Z"}, "end: found"),
        ("s", {"idTemplate": "{name}"}, "id_template: found '{name}'"),
        ("s", {"payload": {"do": 7}}, "payload of job 'obey': Expected `str`, got `int`"),
        ("s", {"payload": {"do": "[REDACTED]"}}, "payload.do: found a mark of what is hidden"),
        ("s", {"job": "nobody"}, "job 'nobody'"),
        ("s", {"queue": QUEUE, "job": "nobody"}, "'nobody'"),
        ("s", {"limit": 0}, "Expected `int` >= 1 - at `$.limit`"),
        ("s", {"jbo": "x"}, "Object contains unknown field `jbo`"),
        ("s p", {}, "schedule name 's p': wanted 1 to 128 of A-Z a-z 0-9 . _ : -"),
    ],
)
async def test_a_schedule_that_can_not_be_is_422(stage: Stage, name: str, changed: dict[str, Any], text: str) -> None:
    """The message says what was found, and nothing is made."""
    assert text in await stage.refused(422, "PUT", f"/schedules/{name}", json={**DAILY, **changed})
    assert await stage.done("GET", "/schedules") == {"schedules": []}
    assert await stage.told("Schedule", name) == []


@pytest.mark.parametrize(
    ("method", "verb"), [("GET", ""), ("DELETE", ""), *(("POST", f"/{v}") for v in ("pause", "resume", "run"))]
)
async def test_a_schedule_that_there_is_not_is_404(stage: Stage, method: str, verb: str) -> None:
    """And so is a queue that there is not."""
    message = await stage.refused(404, method, f"/schedules/nothing{verb}")
    assert message == "schedule 'nothing': there is none of that name"
    assert "queue 'nothing'" in await stage.refused(404, "PUT", "/schedules/s", json={**DAILY, "queue": "nothing"})
    assert "queue 'nothing'" in await stage.refused(404, "GET", "/schedules", params={"queue": "nothing"})
    assert await stage.told("Schedule", "nothing") == []


async def test_no_run_starts_while_the_service_shuts_down(stage: Stage) -> None:
    """503, and nothing was enqueued."""
    await stage.done("PUT", "/schedules/nightly", json=DAILY)
    stage.service.engine.stop_accepting()
    await stage.refused(503, "POST", "/schedules/nightly/run")
    assert (await stage.service.jobs.get_queue_stats(QUEUE)).waiting == 0
