"""What every handler is given as `ctx.resources`: opened before the workers start, closed after they have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine
    from dhanam_jobs.handlers.mail.mailer import Mailer
    from dhanam_jobs.handlers.providers import Providers
    from dhanam_jobs.handlers.store import Store


@dataclass(frozen=True)
class Resources:
    """The store, what sends letters, what reaches the providers, and the engine, for looking at other jobs."""

    store: Store
    mailer: Mailer
    providers: Providers
    engine: Engine
