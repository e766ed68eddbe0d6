"""Reads the settings from the environment, once, at start; acting on them is the composition root's.

A variable that is empty counts as not set. Every bad value is reported in one go, by variable.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

SECRET_FIELDS: Final = (
    "jwt_secret",
    "encryption_key",
    "encryption_key_previous",
    "smtp_password",
    "belvo_secret_key_password",
    "plaid_secret",
)
AUTH_MODES: Final = ("local", "jwks")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
Concurrency = Annotated[int, msgspec.Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
HttpUrl = Annotated[str, "http", msgspec.Meta(description="http://HOST or https://HOST")]
Text = Annotated[str, msgspec.Meta(min_length=1, description="a text")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535, description="a port from 1 to 65535")]


class SettingsError(Exception):
    """The environment can't be used. `problems` holds one line per bad variable; no line holds a secret."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings; a field's variable is its name in capitals. The repr shows no secret.

    Attributes:
        concurrency: jobs that one process runs at once, by queue name, where a variable sets it.
        embedded_mode: no database was given, and no Redis (or `--embedded` overrode it): secrets, outbox and
            demo data are our own.
        force_embedded_redis: `--embedded` was given; `redis_url` is None then.
        redis_url: None: the seed's default address if a server answers there, else our own.
        database_url: None: SQLite in the data directory; `store_url` names it.
        jobs_data_dir: where the embedded server, the store, the secrets and the outbox are.
        jobs_timezone: IANA name; the zone of schedules that name none.
        jobs_wait_s: seconds that a trigger waits for its job before it answers 202.
        http_prefix: also serve everything under this path; empty: only without.
        http_port: 0 takes a free one.
        rate_limit_max: requests that one sender may make in `rate_limit_window` seconds; 0 for no limit.
    """

    embedded_mode: bool
    force_embedded_redis: bool
    concurrency: dict[str, int]
    redis_url: str | None = None
    database_url: str | None = None
    jobs_data_dir: Path
    jobs_prefix: Annotated[
        str,
        msgspec.Meta(pattern="^[A-Za-z0-9._:-]{1,64}$", description="1 to 64 of A-Z a-z 0-9 . _ : -"),
    ] = "jobs"
    jobs_timezone: str = "UTC"
    jobs_wait_s: Annotated[float, msgspec.Meta(ge=0, le=3600, description="seconds from 0 to 3600")] = 25.0
    http_host: Text = "127.0.0.1"
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65_535, description="a port from 0 to 65535")] = 4300
    http_prefix: str = "/v1"
    auth_mode: str = "local"
    jwt_secret: str = ""
    jwks_url: HttpUrl | None = None
    jwt_issuer: Text = "dhanam-api"
    jwt_audience: Text = "dhanam-web"
    rate_limit_max: Annotated[
        int, msgspec.Meta(ge=0, le=1_000_000, description="requests from 0 (no limit) to 1000000")
    ] = 300
    rate_limit_window: Annotated[int, msgspec.Meta(ge=1, le=86_400, description="whole seconds from 1 to 86400")] = 900
    encryption_key: str = ""
    encryption_key_previous: str = ""
    bitso_url: HttpUrl | None = None
    belvo_url: HttpUrl | None = None
    plaid_url: HttpUrl | None = None
    eth_rpc_url: HttpUrl | None = None
    btc_api_url: HttpUrl | None = None
    esg_url: HttpUrl | None = None
    prices_url: HttpUrl | None = None
    rates_url: HttpUrl | None = None
    belvo_secret_key_id: Text | None = None
    belvo_secret_key_password: Text | None = None
    plaid_client_id: Text | None = None
    plaid_secret: Text | None = None
    smtp_host: Text | None = None
    smtp_port: Port = 587
    smtp_secure: Annotated[bool, msgspec.Meta(description="true, false, 1 or 0")] = False
    smtp_user: Text | None = None
    smtp_password: Text | None = None
    email_from: Text = "Dhanam <noreply@dhanam.io>"
    app_url: HttpUrl = "https://app.dhanam.io"
    support_email: Text = "support@dhanam.io"
    log_level: str = "info"

    @property
    def store_url(self) -> str:
        """The database's address: the one given, else that of the SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{self.jobs_data_dir / 'dhanam.sqlite3'}"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Settings({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, _shown(name, getattr(self, name))) for name in self.__struct_fields__]


def load_settings(
    environ: Mapping[str, str], *, queues: Iterable[str], embedded: bool = False, need_secrets: bool = True
) -> Settings:
    """Reads, checks and completes the settings; makes the data directory (0700) where it will be used.

    `queues` are the names that `QUEUE_<NAME>_CONCURRENCY` may speak of; `embedded` is `--embedded`. In
    embedded mode missing secrets are made once and kept in the data directory (0600); elsewhere they are an
    error, unless `need_secrets` is False (then they are empty). Raises SettingsError.
    """
    given = {name: value for name, value in environ.items() if value != ""}
    if embedded:
        given.pop("REDIS_URL", None)
    embedded_mode = "DATABASE_URL" not in given and "REDIS_URL" not in given
    problems: list[str] = []
    values: dict[str, Any] = {"embedded_mode": embedded_mode, "force_embedded_redis": embedded}
    values["concurrency"] = _read_concurrency(given, queues, problems)
    values["jobs_data_dir"] = _data_dir(given)
    hints = get_type_hints(Settings, include_extras=True)
    for field in Settings.__struct_fields__:
        text = given.get(field.upper())
        if field in values or text is None:
            continue
        try:
            values[field] = _check(field, text, hints[field])
        except ValueError as wanted:
            shown = "a value" if field in SECRET_FIELDS else repr(_shown(field, text))
            problems.append(f"{field.upper()}: found {shown}, wanted {wanted}")
    _check_together(values, given, problems, need_secrets and not embedded_mode)
    if problems:
        raise SettingsError(*problems)
    if "DATABASE_URL" not in given:
        _make_private(values["jobs_data_dir"])
    if embedded_mode:
        for field, size in (("jwt_secret", 32), ("encryption_key", 16)):
            if field not in values:
                values[field] = _kept_secret(values["jobs_data_dir"] / field.replace("_", "-"), size)
    return Settings(**values)


def _shown(name: str, value: Any) -> Any:
    if name in SECRET_FIELDS and value:
        return "***"
    return redact(value) if name.endswith("_url") and value else value


def redact(url: str) -> str:
    """The address without what may be a password: all before an @, and parameters named for a secret."""
    shown = re.sub(r"(?is)^([a-z][a-z0-9+.-]*:/*)?.*@", r"\1***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:pass|secret|key|token)[^=&]*=)[^&]*", r"\1***", shown)


def _check(field: str, text: str, kind: Any) -> Any:
    """One variable's value. Raises ValueError, whose text says what is wanted."""
    parts = get_args(kind)
    if type(None) in parts:
        kind = next(part for part in parts if part is not type(None))
    marks = getattr(kind, "__metadata__", ())
    wanted = next((mark.description for mark in marks if isinstance(mark, msgspec.Meta)), None)
    # msgspec would also take 5.0 and 1e3 for whole numbers.
    if getattr(kind, "__origin__", None) is int and not re.fullmatch("[0-9]+", text):
        raise ValueError(wanted)
    try:
        value = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise ValueError(wanted) from None
    if "http" in marks and not _is_url(text, ("http", "https")):
        raise ValueError(wanted)
    check = _CHECKS.get(field)
    return check(value) if check else value


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in schemes and bool(url.hostname) and url.port != 0 and not re.search(r"\s", text)
    except ValueError:
        return False


def _redis_url(text: str) -> str:
    local = text.startswith("unix:///") and len(text) > len("unix:///")
    network = _is_url(text, ("redis", "rediss")) and re.fullmatch(r"/?|/[0-9]+", urlsplit(text).path)
    if not (local or network):
        raise ValueError("redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://... or unix:///PATH")
    return text


def _database_url(text: str) -> str:
    file = re.fullmatch(r"sqlite(\+\w+)?:///.+", text)
    if not (file or _is_url(re.sub(r"^(\w+)\+\w+://", r"\1://", text), ("postgresql", "postgres"))):
        raise ValueError("sqlite:///PATH or postgresql://[USER:PASSWORD@]HOST[:PORT]/NAME")
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (OSError, ValueError, KeyError):
        raise ValueError("an IANA time zone such as America/Mexico_City") from None
    return text


def _prefix_path(text: str) -> str:
    if not re.fullmatch(r"/|(/[A-Za-z0-9._~-]+)+/?", text):
        raise ValueError("a path such as /v1, or / for none")
    return text.rstrip("/")


def _one_of(*legal: str) -> Any:
    def check(text: str) -> str:
        if text.lower() not in legal:
            raise ValueError(f"one of {', '.join(legal)}")
        return text.lower()

    return check


def _long_secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError(f"at least 32 characters (these are {len(text)})")
    return text


def _exact_secret(text: str) -> str:
    if len(text) != 32:
        raise ValueError(f"exactly 32 characters (these are {len(text)})")
    return text


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\r\n]*[^@\s]@[^@\s]+", text):
        raise ValueError("an e-mail address")
    return text


_CHECKS: Final[Mapping[str, Any]] = {
    "redis_url": _redis_url,
    "database_url": _database_url,
    "jobs_timezone": _time_zone,
    "http_prefix": _prefix_path,
    "auth_mode": _one_of(*AUTH_MODES),
    "log_level": _one_of(*LOG_LEVELS),
    "jwt_secret": _long_secret,
    "encryption_key": _exact_secret,
    "encryption_key_previous": _exact_secret,
    "email_from": _address,
    "support_email": _address,
}


def _check_together(
    values: Mapping[str, Any], given: Mapping[str, str], problems: list[str], need_secrets: bool
) -> None:
    """What one variable asks of another."""
    jwks = values.get("auth_mode") == "jwks"
    if jwks and "JWKS_URL" not in given:
        problems.append("JWKS_URL: not set, wanted http://HOST or https://HOST, since AUTH_MODE is jwks")
    if ("SMTP_USER" in given) != ("SMTP_PASSWORD" in given):
        missing = "SMTP_PASSWORD" if "SMTP_USER" in given else "SMTP_USER"
        problems.append(f"{missing}: not set, wanted both SMTP_USER and SMTP_PASSWORD, or neither")
    if need_secrets:
        reason = next(name for name in ("DATABASE_URL", "REDIS_URL") if name in given)
        if not jwks and "JWT_SECRET" not in given:
            problems.append(f"JWT_SECRET: not set, wanted at least 32 characters, since {reason} is set")
        if "ENCRYPTION_KEY" not in given:
            problems.append(f"ENCRYPTION_KEY: not set, wanted exactly 32 characters, since {reason} is set")


def _read_concurrency(given: Mapping[str, str], queues: Iterable[str], problems: list[str]) -> dict[str, int]:
    legal = {f"QUEUE_{re.sub('[-.]', '_', name).upper()}_CONCURRENCY": name for name in queues}
    found = {}
    for variable in sorted(given):
        if not re.fullmatch("QUEUE_.*CONCURRENCY", variable):
            continue
        if variable not in legal:
            problems.append(f"{variable}: no such queue, wanted one of {', '.join(legal)}")
            continue
        try:
            found[legal[variable]] = _check("concurrency", given[variable], Concurrency)
        except ValueError as wanted:
            problems.append(f"{variable}: found {given[variable]!r}, wanted {wanted}")
    return found


def _data_dir(given: Mapping[str, str]) -> Path:
    home = Path(given["HOME"]) if "HOME" in given else Path.home()
    if "JOBS_DATA_DIR" in given:
        text = given["JOBS_DATA_DIR"]
        return (home / text[2:] if text.startswith("~/") else Path(text)).absolute()
    return Path(given.get("XDG_DATA_HOME", home / ".local" / "share")).absolute() / "dhanam-jobs"


def _make_private(directory: Path) -> None:
    """Makes the data directory, open to its owner alone; takes one that exists if it is empty or was ours."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o777
        if mode & 0o077:
            # Narrowing a folder that holds other things, such as a home or /tmp, would harm its other users.
            inside = {entry.name for entry in directory.iterdir()}
            if inside and not inside & {"dhanam.sqlite3", "jwt-secret", "redis"}:
                raise SettingsError(
                    f"JOBS_DATA_DIR: found {str(directory)!r}, which holds other things and has mode "
                    f"{mode:04o}, wanted a directory of our own, or one of mode 0700"
                )
            directory.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"JOBS_DATA_DIR: found {str(directory)!r} ({error.strerror}), wanted a directory that we can make"
        ) from error


def _kept_secret(path: Path, size: int) -> str:
    """The secret in this file, 2 x `size` hexadecimal digits; made at the first call, whole or not at all."""
    if not path.exists():
        new = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, f"{secrets.token_hex(size)}\n".encode())
            os.fsync(file)
            # Of two first starts at once, one links; the other reads what the first has made.
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            os.close(file)
            new.unlink()
    path.chmod(0o600)
    found = path.read_text().strip()
    if not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", found):
        name = path.name.upper().replace("-", "_")
        raise SettingsError(
            f"{name}: found {len(found)} characters in {path}, wanted the {2 * size} hexadecimal digits that "
            "were kept there; restore the file, or set the variable"
        )
    return found
