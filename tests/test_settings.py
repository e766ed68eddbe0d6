"""Proves that settings are read, checked in one go, and completed without ever showing a secret."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.pretty import pretty_repr

from dhanam_jobs.engine.server_choice import choose_server
from dhanam_jobs.settings import Settings, SettingsError, load_settings, redact

if TYPE_CHECKING:
    from tests.conftest import StartRedis

QUEUES = (
    "sync-transactions",
    "categorize-transactions",
    "esg-updates",
    "valuation-snapshots",
    "email-notifications",
    "system-maintenance",
)
PRODUCTION = {
    "REDIS_URL": "redis://cache:6379/2",
    "DATABASE_URL": "postgresql://dhanam:hunter2@db/dhanam",
    "JWT_SECRET": "j" * 32,
    "ENCRYPTION_KEY": "e" * 32,
}


def load(**variables: str) -> Settings:
    """The settings of a production environment with these variables set."""
    return load_settings({**PRODUCTION, **variables}, queues=QUEUES)


def problems_of(environ: dict[str, str], *, embedded: bool = False) -> list[str]:
    """The lines of the error that this environment causes."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, queues=QUEUES, embedded=embedded)
    return list(caught.value.problems)


def test_an_empty_environment_gives_the_documented_defaults(tmp_path: Path) -> None:
    """Nothing needs to be set on a laptop; an empty variable counts as not set."""
    settings = load_settings({"HOME": str(tmp_path), "HTTP_PORT": "", "REDIS_URL": ""}, queues=QUEUES)
    assert settings.embedded_mode
    assert (settings.redis_url, settings.database_url, settings.concurrency) == (None, None, {})
    assert (settings.http_host, settings.http_port, settings.http_prefix) == ("127.0.0.1", 4300, "/v1")
    assert (settings.jobs_prefix, settings.jobs_timezone, settings.jobs_wait_s) == ("jobs", "UTC", 25.0)
    assert (settings.jwt_issuer, settings.jwt_audience, settings.auth_mode) == (
        "dhanam-api",
        "dhanam-web",
        "local",
    )
    assert settings.jobs_data_dir == tmp_path / ".local" / "share" / "dhanam-jobs"
    assert settings.store_url == f"sqlite:///{settings.jobs_data_dir}/dhanam.sqlite3"


def test_values_come_from_the_variables(tmp_path: Path) -> None:
    """Numbers, switches, paths and the queues' concurrency are read into their types."""
    settings = load(
        QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY="7",
        HTTP_PORT="0",
        HTTP_PREFIX="/",
        JOBS_WAIT_S="2.5",
        SMTP_SECURE="true",
        SMTP_PORT="25",
        JOBS_TIMEZONE="America/Mexico_City",
        LOG_LEVEL="DEBUG",
        JOBS_DATA_DIR=str(tmp_path / "here"),
    )
    assert settings.concurrency == {"email-notifications": 7}
    assert (settings.http_port, settings.http_prefix, settings.jobs_wait_s) == (0, "", 2.5)
    assert (settings.smtp_secure, settings.smtp_port, settings.log_level) == (True, 25, "debug")
    assert settings.jobs_timezone == "America/Mexico_City"
    assert settings.store_url == PRODUCTION["DATABASE_URL"]
    assert not settings.embedded_mode
    assert not (tmp_path / "here").exists(), "nothing is kept there, so it isn't made"


@pytest.mark.parametrize("found", ["abc", "0", "5.5", "-1", "1e3", "5.0", "10001", " 5"])
def test_a_concurrency_that_is_no_whole_number_from_1_is_refused(found: str) -> None:
    """The error names the variable, the value found and the value wanted."""
    assert problems_of({**PRODUCTION, "QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY": found}) == [
        f"QUEUE_EMAIL_NOTIFICATIONS_CONCURRENCY: found {found!r}, wanted a whole number from 1 to 1000"
    ]


@pytest.mark.parametrize("name", ["EMAIL", "_EMAIL_NOTIFICATIONS", ""])
def test_a_concurrency_of_no_queue_of_ours_is_refused_with_the_legal_names(name: str) -> None:
    """A misspelt queue does not pass silently."""
    (problem,) = problems_of({**PRODUCTION, f"QUEUE_{name}_CONCURRENCY": "5"})
    assert problem.startswith(f"QUEUE_{name}_CONCURRENCY: no such queue, wanted one of QUEUE_SYNC_TRANSACTIONS")
    assert problem.count("_CONCURRENCY") == 1 + len(QUEUES)


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("REDIS_URL", "http://cache"),
        ("REDIS_URL", "redis://cache:port"),
        ("REDIS_URL", "redis://cache/zero"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "unix://"),
        ("DATABASE_URL", "mysql://db/x"),
        ("DATABASE_URL", "postgresql:///x"),
        ("DATABASE_URL", "sqlite://"),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "http"),
        ("HTTP_PREFIX", "v1"),
        ("HTTP_PREFIX", "/a b"),
        ("JOBS_PREFIX", "a{b}"),
        ("JOBS_TIMEZONE", "Mars/Olympus"),
        ("JOBS_TIMEZONE", "../etc/passwd"),
        ("JOBS_WAIT_S", "nan"),
        ("JOBS_WAIT_S", "-1"),
        ("AUTH_MODE", "none"),
        ("RATE_LIMIT_MAX", "-1"),
        ("RATE_LIMIT_MAX", "many"),
        ("RATE_LIMIT_WINDOW", "0"),
        ("RATE_LIMIT_WINDOW", "15m"),
        ("LOG_LEVEL", "loud"),
        ("SMTP_SECURE", "perhaps"),
        ("SMTP_PORT", "0"),
        ("EMAIL_FROM", "nobody"),
        ("SUPPORT_EMAIL", "a@b\r\nBcc: c@d"),
        ("BITSO_URL", "ftp://bitso"),
        ("PRICES_URL", "https://"),
        ("APP_URL", "https://host:0"),
    ],
)
def test_a_bad_value_is_named_with_what_was_found_and_wanted(variable: str, found: str) -> None:
    """One line per variable says all that is needed to mend it."""
    (problem,) = problems_of({**PRODUCTION, variable: found})
    assert problem.startswith(f"{variable}: found {found!r}, wanted ")
    assert len(problem) > len(f"{variable}: found {found!r}, wanted ") + 5


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("REDIS_URL", "rediss://user:pw@cache:6380/1"),
        ("REDIS_URL", "redis://[::1]:6379"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("DATABASE_URL", "postgresql+asyncpg://db/x?sslmode=require"),
        ("DATABASE_URL", "postgres://u:p%40w@db:5432/x"),
        ("EMAIL_FROM", "Dhanam <hola@dhanam.io>"),
        ("BITSO_URL", "http://127.0.0.1:4310/bitso/"),
        ("JOBS_PREFIX", "jobs:eu-1"),
    ],
)
def test_a_good_value_passes_unchanged(variable: str, found: str) -> None:
    """What a deployment may sensibly say is taken as it stands."""
    assert getattr(load(**{variable: found}), variable.lower()) == found


def test_all_bad_values_are_reported_in_one_go() -> None:
    """Nobody has to start once per mistake."""
    problems = problems_of({**PRODUCTION, "HTTP_PORT": "x", "LOG_LEVEL": "x", "QUEUE_ESG_UPDATES_CONCURRENCY": "x"})
    assert [problem.split(":")[0] for problem in problems] == [
        "QUEUE_ESG_UPDATES_CONCURRENCY",
        "HTTP_PORT",
        "LOG_LEVEL",
    ]


@pytest.mark.parametrize("given", ["REDIS_URL", "DATABASE_URL"])
def test_a_missing_secret_is_an_error_outside_embedded_mode(given: str, tmp_path: Path) -> None:
    """A server of one's own means secrets of one's own; none is invented."""
    environ = {given: PRODUCTION[given], "JOBS_DATA_DIR": str(tmp_path / "data")}
    assert problems_of(environ) == [
        f"JWT_SECRET: not set, wanted at least 32 characters, since {given} is set",
        f"ENCRYPTION_KEY: not set, wanted exactly 32 characters, since {given} is set",
    ]
    assert not (tmp_path / "data").exists()
    settings = load_settings(environ, queues=QUEUES, need_secrets=False)
    assert (settings.jwt_secret, settings.encryption_key) == ("", "")


def test_the_embedded_flag_overrides_redis_but_not_the_database(tmp_path: Path) -> None:
    """Embedded mode is no database and no Redis of one's own."""
    here = {"JOBS_DATA_DIR": str(tmp_path / "data")}
    settings = load_settings({"REDIS_URL": "redis://cache", **here}, queues=QUEUES, embedded=True)
    assert settings.embedded_mode
    assert settings.redis_url is None
    settings = load_settings({**PRODUCTION, **here}, queues=QUEUES, embedded=True)
    assert settings.force_embedded_redis
    assert not settings.embedded_mode


def test_secrets_of_embedded_mode_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    """They are long enough, private, the same at the next start, and give way to the variables."""
    environ = {"JOBS_DATA_DIR": str(tmp_path / "data")}
    first = load_settings(environ, queues=QUEUES)
    assert (len(first.jwt_secret), len(first.encryption_key)) == (64, 32)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for name in ("jwt-secret", "encryption-key"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
    assert load_settings(environ, queues=QUEUES) == first
    assert load_settings({**environ, "JWT_SECRET": "s" * 40}, queues=QUEUES).jwt_secret == "s" * 40


def test_many_first_starts_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    """Whoever makes a secret first, all read the same, and no half-made file stays."""
    environ = {"JOBS_DATA_DIR": str(tmp_path / "data")}
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: load_settings(environ, queues=QUEUES), range(64)))
    assert len({(settings.jwt_secret, settings.encryption_key) for settings in found}) == 1
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["encryption-key", "jwt-secret"]


def test_a_kept_secret_that_was_cut_off_is_an_error_not_a_new_secret(tmp_path: Path) -> None:
    """A new key would make everything encrypted under the old one unreadable."""
    environ = {"JOBS_DATA_DIR": str(tmp_path / "data")}
    load_settings(environ, queues=QUEUES)
    (tmp_path / "data" / "encryption-key").write_text("abc")
    (problem,) = problems_of(environ)
    assert problem.startswith("ENCRYPTION_KEY: found 3 characters in ")


def test_a_directory_of_others_is_not_made_private(tmp_path: Path) -> None:
    """JOBS_DATA_DIR=/tmp must not close /tmp to everyone else; an empty directory is taken."""
    shared, empty = tmp_path / "shared", tmp_path / "empty"
    for directory in (shared, empty):
        directory.mkdir()
        directory.chmod(0o755)
    (shared / "letter.txt").write_text("hola")
    (problem,) = problems_of({"JOBS_DATA_DIR": str(shared)})
    assert problem.startswith(f"JOBS_DATA_DIR: found '{shared}', which holds other things and has mode 0755")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    load_settings({"JOBS_DATA_DIR": str(empty)}, queues=QUEUES)
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in its place is a clear error."""
    (tmp_path / "data").write_text("")
    (problem,) = problems_of({"JOBS_DATA_DIR": str(tmp_path / "data")})
    assert problem.startswith(f"JOBS_DATA_DIR: found '{tmp_path}/data' (File exists), wanted a directory")


def test_no_secret_is_ever_shown() -> None:
    """Neither the repr, nor rich's, nor an error holds a secret or an address's password."""
    variables = {
        "REDIS_URL": "redis://:hunter2@cache/0",
        "SMTP_USER": "mail",
        "SMTP_PASSWORD": "hunter2",
        "JWT_SECRET": "hunter2" * 8,
        "ENCRYPTION_KEY": "hunter2" * 4 + "four",
        "BITSO_URL": "https://bitso/?api_key=hunter2",
    }
    settings = load(**variables)
    assert "hunter2" not in repr(settings) + str(settings) + pretty_repr(settings)
    assert msgspec.structs.asdict(settings)["smtp_password"] == "hunter2"
    bad = {
        "REDIS_URL": "redis:/user:hunter2@cache",
        "DATABASE_URL": "mysql://me:hunter2@cache",
        "JWT_SECRET": "hunter2",
        "ENCRYPTION_KEY": "hunter2",
    }
    problems = problems_of(bad)
    assert len(problems) == len(bad)
    assert "hunter2" not in "\n".join(problems)


@pytest.mark.parametrize(
    "address",
    [
        "redis://:hunter2@h",
        "redis://u:hunter2@h:x",
        "redis://u:hun@ter2hunter2@h",
        "u:hunter2@h",
        "redis://h?password=hunter2",
        "redis://u:a/hunter2@h",
        "postgres://h/x?a=b&sslpassword=hunter2",
    ],
)
def test_an_address_is_shown_without_its_password(address: str) -> None:
    """Also where the address is malformed."""
    assert "hunter2" not in redact(address)
    assert "***" in redact(address)


async def test_a_named_server_is_used_unasked_and_the_flag_wins() -> None:
    """A given address is taken as it is, even where nobody answers; `--embedded` asks nobody."""
    assert (await choose_server("redis://cache", port=1)).url == "redis://cache"
    assert (await choose_server("redis://cache", embedded=True)).url is None


async def test_a_usable_server_at_the_default_address_is_used(start_redis: StartRedis) -> None:
    """Where a Redis answers, ours is not started; where nobody does, it is."""
    server = start_redis(tcp=True)
    choice = await choose_server(None, port=server.port)
    assert choice.url == f"redis://localhost:{server.port}"
    server.stop()
    choice = await choose_server(None, port=server.port)
    assert choice.url is None
    assert choice.reason == f"no server answers on localhost:{server.port}"


async def test_a_server_that_wants_a_password_is_not_used_unnamed(start_redis: StartRedis) -> None:
    """It is someone else's; the reason says so."""
    server = start_redis("--requirepass", "hunter2", tcp=True)
    choice = await choose_server(None, port=server.port)
    assert choice.url is None
    assert "refuses us (NOAUTH" in choice.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something that is no Redis"),
        (b"$24\r\nredis_version:6.2.14\r\n\r\n\r\n", "a server of version 6.2, too old,"),
        (b"", "something that is no Redis"),
    ],
)
async def test_a_stranger_at_the_default_address_is_not_used(answer: bytes, reason: str) -> None:
    """Another program, or a Redis that is too old, gives way to our own server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    stranger = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        choice = await choose_server(None, host="127.0.0.1", port=port)
    assert (choice.url, choice.reason) == (None, f"{reason} on 127.0.0.1:{port}")
