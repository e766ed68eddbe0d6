"""The job `send-email`: who gets a letter, how often, and what a retry sends."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Engine,
    InvalidPayload,
    Job,
    JobContext,
    JobFailed,
    JobInfo,
    JobState,
    Queue,
    Registry,
    RetryPolicy,
    Worker,
)
from dhanam_jobs.handlers import build_registry, send_email
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.delivery import (
    Delivery,
    MailDelayed,
    MailRefused,
    MailUnreachable,
    NoDelivery,
    Outbox,
)
from dhanam_jobs.handlers.mail.mailer import Mailer
from dhanam_jobs.handlers.mail.message import Message
from dhanam_jobs.handlers.send_email import JOB_NAME, QUEUE_NAME, SendEmail
from dhanam_jobs.handlers.store.columns import utc_now

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store
    from tests.conftest import WaitUntil
    from tests.handlers.conftest import Household

WELCOME = {"to": "ana@example.test", "template": "welcome", "data": {"name": "Ana"}}
SYNCED = {
    "to": "ana@example.test",
    "template": "sync-completed",
    "data": {"name": "Ana", "provider": "Bitso", "accountsUpdated": 1, "transactionsAdded": 2},
}
WEEK = {
    "to": "ana@example.test",
    "template": "weekly-summary",
    "data": {
        "name": "Ana",
        "weekStart": "2026-05-04",
        "weekEnd": "2026-05-10",
        "currency": "MXN",
        "totalSpent": 1,
        "netChange": 1,
    },
}


@dataclass
class _Taken:
    """A way out that keeps what it was given; `fails` gives each attempt's error, or None."""

    messages: list[Message] = field(default_factory=list)
    fails: Callable[[int], Exception | None] = lambda attempt: None

    async def deliver(self, message: Message, attempt: int) -> None:
        if (error := self.fails(attempt)) is not None:
            raise error
        self.messages.append(message)

    async def verify(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class _Resources:
    store: Store
    mailer: Mailer


class Post:
    """A queue with a worker that sends by `way`."""

    def __init__(self, queue: Queue, household: Household, way: Delivery) -> None:
        self.queue = queue
        self.household = household
        self.way = way

    def worker(self) -> Worker:
        mailer = Mailer(self.way, read_address("Dhanam <noreply@dhanam.test>"))
        return Worker(self.queue, resources=_Resources(self.household.store, mailer))

    async def result(self, payload: dict[str, Any], **options: Any) -> Any:
        async with self.worker():
            return await (await self.enqueue(payload, **options)).result(timeout=10)

    async def enqueue(self, payload: dict[str, Any], **options: Any) -> Job:
        return await self.queue.enqueue(JOB_NAME, payload, **options)

    async def prefer(self, **preferences: bool) -> None:
        await self.household.store.users.upsert_preferences([{"user_id": "ana", **preferences}])


async def delayed(post: Post, job: Job, wait_until: WaitUntil) -> Any:
    """The job, once it is delayed."""

    async def found() -> JobInfo | None:
        info = await post.queue.get(job.id)
        return info if info is not None and info.state is JobState.DELAYED else None

    return await wait_until(found, f"job {job.id} is delayed")


@pytest.fixture
def taken() -> _Taken:
    """A way out that keeps what it was given."""
    return _Taken()


@pytest.fixture
async def post(redis: Redis, redis_url: str, household: Household, taken: _Taken) -> AsyncIterator[Post]:
    """The e-mail queue, sending to `taken`."""
    async with Engine.connect(redis_url, registry=build_registry()) as engine:
        yield Post(engine.queue(QUEUE_NAME), household, taken)


async def test_a_queued_letter_is_sent(post: Post, taken: _Taken) -> None:
    """B1: the original's mail queue had producers and no worker. The result has the specification's keys."""
    job = await post.enqueue(WELCOME)
    async with post.worker():
        result = await job.result(timeout=10)

    (message,) = taken.messages
    assert result == {"messageId": message.message_id, "template": "welcome", "skipped": False}
    assert message.message_id.startswith(f"{job.id}.")
    assert message.recipient == "ana@example.test"
    assert b"Subject: Te damos la bienvenida a Dhanam" in message.content


async def test_the_readers_own_language_is_used_unless_another_is_asked_for(post: Post, taken: _Taken) -> None:
    """A stranger gets Spanish."""
    await post.household.store.users.upsert([{"id": "ana", "email": "ana@example.test", "locale": "en-US"}])
    for payload in (WELCOME, {**WELCOME, "locale": "es-MX"}, {**WELCOME, "to": "stranger@example.test"}):
        await post.result(payload)

    found = [b"Welcome to Dhanam" in message.content for message in taken.messages]
    assert found == [True, False, False]


@pytest.mark.parametrize(
    ("preferences", "sent"),
    [
        ({}, ["welcome", "sync-completed", "weekly-summary"]),
        ({"weekly_reports": False}, ["welcome", "sync-completed"]),
        ({"monthly_reports": False}, ["welcome", "sync-completed", "weekly-summary"]),
        ({"email_notifications": False}, ["welcome"]),
    ],
)
async def test_preferences_are_honoured_and_essential_letters_go(
    post: Post, preferences: dict[str, bool], sent: list[str]
) -> None:
    """What is switched off ends as skipped, with the reason; security can't be switched off."""
    await post.prefer(**preferences)
    results = [await post.result(payload) for payload in (WELCOME, SYNCED, WEEK)]

    assert [result["template"] for result in results if not result["skipped"]] == sent
    for result in results:
        if result["skipped"]:
            assert result == {
                "messageId": None,
                "template": result["template"],
                "skipped": True,
                "reason": "preference",
            }


async def test_a_closed_account_gets_no_notices(post: Post, taken: _Taken) -> None:
    """An inactive user is not written to, but for security."""
    await post.household.store.users.upsert([{"id": "ana", "email": "ana@example.test", "is_active": False}])

    assert (await post.result(SYNCED))["reason"] == "inactive"
    assert (await post.result(WELCOME))["skipped"] is False
    assert len(taken.messages) == 1


async def test_a_retry_after_the_server_took_the_message_sends_nothing(
    redis: Redis, redis_url: str, household: Household, taken: _Taken
) -> None:
    """The first attempt breaks off after the delivery was noted; the second finds the note."""
    registry = Registry()

    @registry.job(JOB_NAME, queue=QUEUE_NAME, retry=RetryPolicy(attempts=2, base=0.01))
    async def breaks_off(ctx: JobContext, payload: SendEmail) -> Any:
        result = await send_email.send_email(ctx, payload)
        if ctx.attempt == 1:
            raise ConnectionError
        return result

    async with Engine.connect(redis_url, registry=registry) as engine:
        result = await Post(engine.queue(QUEUE_NAME), household, taken).result(WELCOME)

    (message,) = taken.messages
    reason = {"skipped": True, "reason": "duplicate"}
    assert result == {"messageId": message.message_id, "template": "welcome", **reason}


async def test_letters_of_one_key_are_sent_once(post: Post, taken: _Taken) -> None:
    """Two jobs that have the same to say, one after the other."""
    first = await post.result({**SYNCED, "key": "synced/c1/2026-05-05"})
    second = await post.result({**SYNCED, "key": "synced/c1/2026-05-05"})
    third = await post.result({**SYNCED, "key": "synced/c1/2026-05-06"})

    assert [row["skipped"] for row in (first, second, third)] == [False, True, False]
    assert second["reason"] == "duplicate"
    assert first["messageId"] == second["messageId"] != third["messageId"]
    assert len(taken.messages) == 2


async def test_an_attempt_that_broke_off_is_made_again_under_the_same_message_id(post: Post, taken: _Taken) -> None:
    """Nobody knows whether the server took it; the same Message-ID lets mailboxes tell."""
    seen: list[str] = []
    taken.fails = lambda attempt: MailUnreachable("connection lost") if attempt == 1 else None
    mailer_id = Mailer.message_id

    class Watched(Mailer):
        def message_id(self, source: str) -> str:
            seen.append(mailer_id(self, source))
            return seen[-1]

    mailer = Watched(taken, read_address("noreply@dhanam.test"))
    job = await post.enqueue(WELCOME, retry=RetryPolicy(attempts=3, base=0.01))
    async with Worker(post.queue, resources=_Resources(post.household.store, mailer)):
        result = await job.result(timeout=10)

    assert len(seen) == 2
    assert seen[0] == seen[1] == result["messageId"] == taken.messages[0].message_id


async def test_a_refused_letter_fails_at_once_and_does_not_count(post: Post, taken: _Taken) -> None:
    """B19: one attempt, the server's words as the reason."""
    taken.fails = lambda _: MailRefused("550 no such mailbox")
    job = await post.enqueue(WELCOME)
    async with post.worker():
        with pytest.raises(JobFailed, match="550 no such mailbox") as caught:
            await job.result(timeout=10)
    assert caught.value.error_type == "MailRefused"
    info = await post.queue.get(job.id)
    assert info is not None
    assert info.attempt == 1

    taken.fails = lambda _: None
    begun = await post.household.store.emails.begin("other", "ana@example.test", "welcome", urgent=True, limit=1)
    assert begun.wait_s is None


async def test_a_delayed_letter_comes_back_later(post: Post, taken: _Taken, wait_until: WaitUntil) -> None:
    """The server's wait, not the queue's seconds."""
    taken.fails = lambda _: MailDelayed(60.0, "450 greylisted")
    job = await post.enqueue(WELCOME)
    async with post.worker():
        info = await delayed(post, job, wait_until)

    assert info.due_ms - info.created_ms >= 60_000
    assert info.attempt == 1


async def test_one_address_gets_so_many_letters_an_hour_and_urgent_ones_apart(
    post: Post, taken: _Taken, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one too many waits, without costing an attempt; a password reset passes."""
    monkeypatch.setattr(send_email, "HOURLY_LIMIT", 2)
    for _ in range(2):
        await post.result(SYNCED)
    third = await post.enqueue(SYNCED)
    async with post.worker():
        info = await delayed(post, third, wait_until)
        assert info.snoozes == 1
        assert info.due_ms - info.created_ms > 3_000_000
        assert (await (await post.enqueue(WELCOME)).result(timeout=10))["skipped"] is False
        other = await post.enqueue({**SYNCED, "to": "luis@example.test"})
        assert (await other.result(timeout=10))["skipped"] is False
    assert len(taken.messages) == 4


async def test_letters_that_begin_at_once_count_each_other(household: Household) -> None:
    """Many workers, one address: exactly as many pass as may; another address isn't held back."""
    emails = household.store.emails
    begun = await asyncio.gather(
        *(emails.begin(f"m{n}", "ana@example.test", "welcome", urgent=False, limit=4) for n in range(12)),
        emails.begin("other", "luis@example.test", "welcome", urgent=False, limit=4),
    )

    waits = [row.wait_s for row in begun[:-1] if row.wait_s is not None]
    assert len(waits) == 8
    assert all(3500 < wait <= 3600 for wait in waits)
    assert begun[-1].wait_s is None


async def test_deliveries_are_forgotten_by_age(household: Household) -> None:
    """What is pruned is no longer known as sent, and what is newer stays."""
    emails = household.store.emails
    await emails.begin("m", "ana@example.test", "welcome", urgent=False, limit=4)
    await emails.finish("m")
    await emails.forget("m")
    now = utc_now()

    assert await emails.prune(now - dt.timedelta(days=1)) == 0
    assert (await emails.begin("m", "ana@example.test", "welcome", urgent=False, limit=4)).sent_before
    assert await emails.prune(now + dt.timedelta(seconds=1)) == 1
    assert not (await emails.begin("m", "ana@example.test", "welcome", urgent=False, limit=4)).sent_before


async def test_without_a_way_out_the_job_fails_at_once(post: Post) -> None:
    """Decision 12: a clear permanent error."""
    post.way = NoDelivery()
    job = await post.enqueue(WELCOME)
    async with post.worker():
        with pytest.raises(JobFailed, match="SMTP_HOST: not set") as caught:
            await job.result(timeout=10)
    assert caught.value.error_type == "MailNotConfigured"


async def test_the_outbox_takes_letters_in_place_of_a_server(post: Post, tmp_path: Path) -> None:
    """One .eml file per letter."""
    post.way = Outbox(tmp_path / "outbox")
    result = await post.result(WELCOME)

    (file,) = (tmp_path / "outbox").iterdir()
    assert file.suffix == ".eml"
    assert f"<{result['messageId']}>".encode() in file.read_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"template": "nonsense"}, "template 'nonsense': wanted one of"),
        ({"data": {}}, "missing required field `name`"),
        ({"to": "ana@example.test\nBcc: eve@example.test"}, "line break or control character"),
        ({"to": "ana@example.test, eve@example.test"}, "wanted one e-mail address"),
        ({"priority": "urgent"}, "urgent"),
        ({"subject": "x"}, "unknown field `subject`"),
        ({"data": {"name": "Ana", "attachment": {"filename": "../x", "content": ""}}}, "wanted a file name"),
        (
            {"attachments": [{"filename": "a", "content": base64.b64encode(b"x" * 700_001).decode()}]},
            "found 700001 bytes, wanted at most 700000",
        ),
        ({"key": "a b"}, "key"),
    ],
)
async def test_a_letter_that_cannot_be_sent_is_refused_when_it_is_enqueued(
    post: Post, changes: dict[str, Any], reason: str
) -> None:
    """Whoever asks learns of it at once; no attempt is spent on it."""
    with pytest.raises(InvalidPayload, match=reason):
        await post.enqueue({**WELCOME, **changes})


async def test_an_attachment_in_the_data_travels_too(post: Post, taken: _Taken) -> None:
    """The original's second pipeline put it there."""
    file = {"filename": "mayo.csv", "content": base64.b64encode(b"a,b").decode(), "contentType": "text/csv"}
    data = {"spaceName": "Casa", "startDate": "2026-05-01", "endDate": "2026-05-31", "attachment": file}
    await post.result({"to": "ana@example.test", "template": "scheduled-monthly-report", "data": data})

    assert b'filename="mayo.csv"' in taken.messages[0].content


def test_priorities_are_the_templates_unless_one_is_given() -> None:
    """B2: more urgent is first: 1 before 5 before 8."""
    given = {"to": "a@b.test", "template": "welcome", "data": {"name": "A"}}
    levels = {
        str(name): msgspec.convert({**given, "priority": name}, SendEmail).urgency.level
        for name in ("high", "normal", "low")
    }
    assert levels == {"high": 1, "normal": 5, "low": 8}
    assert msgspec.convert(WELCOME, SendEmail).urgency.level == 1
    assert msgspec.convert(WEEK, SendEmail).urgency.level == 8


async def test_the_envelope_is_accepted(post: Post, taken: _Taken) -> None:
    """The seed's form of a payload."""
    assert (await post.result({"type": "send-email", "payload": WELCOME}))["skipped"] is False
