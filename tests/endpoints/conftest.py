"""The service as its clients meet it: a real server, Redis and SQLite store, and a household to ask about.

Workers run only where a test starts them, so that a test decides when a job ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, Registry, Worker
from dhanam_jobs.handlers import JobsService, build_registry
from dhanam_jobs.handlers.rules_service import RulesService
from dhanam_jobs.handlers.store import NewTransaction, Store
from dhanam_jobs.http.app import create_app
from dhanam_jobs.http.auth import Guards, Tokens
from dhanam_jobs.http.context import Check, HttpOptions
from dhanam_jobs.http.metrics import Metrics
from dhanam_jobs.http.rate_limit import RateLimit, RateLimiter
from dhanam_jobs.http.serve import HttpServer, bind
from dhanam_jobs.http.tokens import TokenRules, make_token

SECRET = "a-secret-of-the-tests-with-40-characters"
SPACE = "space-1"
CATEGORIZE = f"/jobs/categorize/{SPACE}"


class Service:
    """A running service and what a test needs to ask it."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        options: HttpOptions,
        tokens: Tokens | None = None,
        limit: RateLimit | None = None,
        traced: Any = None,
    ) -> None:
        self.engine = engine
        self.store = store
        self.jobs = JobsService(engine, store=store)
        self.rules = TokenRules(SECRET)
        self.checks: dict[str, Check] = {"redis": engine.redis.ping, "store": store.ping}
        closing = asyncio.Event()
        guards = Guards(tokens or self.rules, store)
        self.limiter = None if limit is None else RateLimiter(engine.redis, engine.prefix, limit)
        self.metrics = Metrics(engine)
        self.app = create_app(
            self.jobs,
            guards,
            self.checks,
            store.idempotency_keys,
            closing=closing,
            metrics=self.metrics,
            rules=RulesService(store),
            options=options,
            limiter=self.limiter,
            traced=traced,
        )
        self.server = HttpServer(self.app, bind("127.0.0.1", 0), closing=closing)
        self.client = httpx2.AsyncClient(base_url=self.server.url, timeout=30)

    def token(self, user: str, *, demo: bool = False) -> str:
        """A token of one of the household's users."""
        return make_token(self.rules, user, f"{user}@example.test", demo=demo)

    async def ask(self, method: str, path: str, user: str = "", **more: Any) -> httpx2.Response:
        """Send a request with the token of `user`; a name that ends in `+demo` gets a demo-role token."""
        headers = dict(more.pop("headers", {}))
        if user:
            name, demo, _ = user.partition("+demo")
            headers["Authorization"] = f"Bearer {self.token(name, demo=bool(demo))}"
        return await self.client.request(method, path, headers=headers, **more)

    @contextlib.asynccontextmanager
    async def worker(self, queue: str = "categorize-transactions", resources: object = None) -> AsyncIterator[Worker]:
        """A worker of a queue whose jobs need nothing but the store, for the length of the block."""
        async with Worker(self.engine.queue(queue), resources=resources or SimpleNamespace(store=self.store)) as worker:
            yield worker


StartService = Callable[..., Awaitable[Service]]


@pytest.fixture(scope="session")
async def household(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database: people of every role, and five transactions, three of which the household's rule knows."""
    path = tmp_path_factory.mktemp("household") / "store.db"
    async with await Store.open(path) as opened:
        people = ["olivia", "adam", "mia", "vera", "otto", "inez", "root"]
        await opened.users.upsert(
            [
                {
                    "id": name,
                    "email": f"{name}@example.test",
                    "name": name.title(),
                    "is_admin": name == "root",
                    "is_active": name != "inez",
                }
                for name in people
            ]
        )
        await opened.spaces.upsert([{"id": SPACE, "name": "Home"}, {"id": "space-2", "name": "Elsewhere"}])
        roles = {"olivia": "owner", "adam": "admin", "mia": "member", "vera": "viewer", "inez": "owner"}
        await opened.spaces.upsert_members(
            [{"user_id": name, "space_id": SPACE, "role": role} for name, role in roles.items()]
            + [{"user_id": "otto", "space_id": "space-2", "role": "owner"}]
        )
        await opened.accounts.upsert([{"id": "card", "space_id": SPACE, "name": "Card", "type": "checking"}])
        await opened.budgets.upsert([{"id": "year", "space_id": SPACE, "name": "Year"}])
        await opened.budgets.upsert_categories([{"id": "coffee", "budget_id": "year", "name": "Coffee"}])
        condition = {"field": "description", "operator": "contains", "value": "cafe"}
        await opened.rules.upsert(
            [
                {
                    "id": "r1",
                    "space_id": SPACE,
                    "name": "Coffee",
                    "conditions": [condition],
                    "category_id": "coffee",
                }
            ]
        )
        await opened.transactions.insert_new(
            "card",
            [
                NewTransaction(
                    provider_transaction_id=str(number),
                    amount=Decimal("-45.50"),
                    currency="MXN",
                    date=dt.date(2026, 3, number),
                    description=text,
                )
                for number, text in enumerate(["CAFE AVELLANEDA", "OXXO", "Cafe Nin", "CFE", "EL CAFECITO"], start=1)
            ],
        )
    return path


@pytest.fixture
async def store(household: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """The household in a store of the test's own."""
    async with await Store.open(shutil.copy(household, tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
async def start_service(store: Store, redis_url: str, redis: redis_async.Redis) -> AsyncIterator[StartService]:
    """Start a service with a registry and options of the test's own: `start_service(wait_s=0.05)`."""
    async with contextlib.AsyncExitStack() as stack:
        shared = redis_url

        async def start(
            registry: Registry | None = None,
            *,
            redis_url: str = shared,
            tokens: Tokens | None = None,
            limit: RateLimit | None = None,
            traced: Any = None,
            **options: Any,
        ) -> Service:
            connecting = Engine.connect(redis_url, registry=registry or build_registry())
            engine = await stack.enter_async_context(connecting)
            service = Service(engine, store, HttpOptions(**options), tokens, limit, traced)
            await service.server.start()
            stack.push_async_callback(service.server.stop)
            await stack.enter_async_context(service.client)
            return service

        yield start


@pytest.fixture
async def service(start_service: StartService) -> Service:
    """The service with its own registry and default options."""
    return await start_service()
