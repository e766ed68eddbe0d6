"""What every sync of a connection stands on: the connection, the space that it feeds, and what comes of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from dhanam_jobs.handlers.providers.errors import ProviderError

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers, Side
    from dhanam_jobs.handlers.providers.transport import Transport
    from dhanam_jobs.handlers.store import Space, Store
    from dhanam_jobs.handlers.store.provider_connections import ProviderConnection


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync is given. `full` asks for everything instead of what is new."""

    store: Store
    providers: Providers
    side: Side
    transport: Transport
    connection: ProviderConnection
    space: Space
    full: bool

    @property
    def zone(self) -> ZoneInfo:
        """The space's time zone: which day it is, and on which day something happened."""
        return ZoneInfo(self.space.timezone)

    def today(self) -> dt.date:
        """The day it is in the space."""
        return self.providers.now().astimezone(self.zone).date()


class Synced(msgspec.Struct, kw_only=True):
    """What came of a sync.

    `transactions` counts the new and the changed ones, `removed` those taken back, `skipped` the entries that can't be
    kept (unreadable, too large, of an unknown account). `missing_prices` names the coins that kept their old value.
    `metadata` is what the connection is to remember.
    """

    transactions: int = 0
    accounts: int = 0
    removed: int = 0
    skipped: int = 0
    missing_prices: list[str] = []
    cursor: str | None = None
    account_ids: list[str] = []
    metadata: dict[str, Any] = {}


class NoSpace(ProviderError):
    """The connection has no space that its owner may write to."""

    code = "S004"
    permanent = True


async def space_of(store: Store, connection: ProviderConnection) -> Space:
    """The space that a connection feeds: the one that it names, else its owner's personal one.

    Raises NoSpace.
    """
    from dhanam_jobs.handlers.store import SpaceRole

    named = connection.details.get("spaceId")
    memberships = await store.spaces.of_user(connection.user_id)
    if named is not None:
        role = next((each.role for each in memberships if each.space_id == named), None)
        if role is None or role.rank < SpaceRole.MEMBER.rank:
            raise NoSpace(connection.provider, f"its owner may not write to space {named!r}")
        candidates = [named]
    else:
        candidates = [each.space_id for each in memberships if each.role is SpaceRole.OWNER]
    found = [space for each in candidates if (space := await store.spaces.get(each)) is not None]
    personal = [space for space in found if named is not None or space.type == "personal"]
    if not personal:
        raise NoSpace(connection.provider, "its owner has no personal space to keep the accounts in")
    return personal[0]


def date_of(text: str | None) -> dt.date | None:
    """The day of an ISO date or moment; None for anything else."""
    try:
        return None if text is None else dt.date.fromisoformat(text[:10])
    except ValueError:
        return None
