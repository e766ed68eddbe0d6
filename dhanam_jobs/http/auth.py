"""The guards: who calls, and may they? A token says who; the user's row and the membership decide the rest.

Tokens themselves are tokens.py's. A guard returns the `Caller` or raises `ApiError`: 401 where nobody known
calls, 403 where somebody does who may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import Request

from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.tokens import Identity, TokenError, fit_for_id

CHANGING_ROLES: Final = frozenset({"owner", "admin", "member"})
"""Roles in a space that may start work there; a viewer may only look."""


class Tokens(Protocol):
    """Who judges tokens: `TokenRules` in local mode, `JwksRules` where an identity provider signs them."""

    async def identify(self, token: str) -> Identity:
        """Return who the token speaks for. Raises TokenError where it isn't good."""
        ...


class User(Protocol):
    """What a guard reads of a user's row."""

    @property
    def id(self) -> str: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def is_admin(self) -> bool: ...


class Users(Protocol):
    """Where the guards look users up."""

    async def get(self, user_id: str) -> User | None:
        """Return the user's row, or None where there is none."""
        ...


class Spaces(Protocol):
    """Where the guards look memberships up."""

    async def role_of(self, user_id: str, space_id: str) -> str | None:
        """Return owner, admin, member or viewer; None where the user is no member, or no such space is."""
        ...


class Directory(Protocol):
    """Both: the store is one."""

    @property
    def users(self) -> Users: ...
    @property
    def spaces(self) -> Spaces: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: an active user."""

    id: str
    is_admin: bool
    read_only: bool
    """Came with a demo-role token: may look, and change nothing."""


class Guards:
    """The guards of all endpoints; dispatch.py asks the one that the endpoint's row names before anything else."""

    def __init__(self, tokens: Tokens, directory: Directory) -> None:
        self._tokens = tokens
        self._directory = directory

    async def caller(self, request: Request) -> Caller:
        """Whoever has a valid token and an active user.

        Raises:
            ApiError: 401 without a token, with one that is refused, or for a user who is inactive or unknown.
        """
        try:
            identity = await self._tokens.identify(_bearer_token(request))
        except TokenError as refused:
            raise ApiError(401, str(refused)) from None
        user = await self._directory.users.get(identity.user_id)
        if user is None or not user.is_active:
            raise ApiError(401, "The token's user is unknown or inactive")
        request.state.user_id = user.id
        return Caller(user.id, user.is_admin, identity.read_only)

    async def admin(self, request: Request) -> Caller:
        """A caller whose user row says admin; a role in a space counts nothing here.

        Raises:
            ApiError: 401 as `caller`; 403 for anybody else.
        """
        caller = await self.caller(request)
        if not caller.is_admin:
            raise ApiError(403, "This needs an administrator")
        return caller

    async def trigger_in_space(self, request: Request, space_id: str) -> Caller:
        """A caller who may start work in the space: member or higher, with a token that may change things.

        Raises:
            ApiError: 401 as `caller`; 403 for demo-role tokens, viewers and those who are no members. Whether
                the space exists can't be told from the answer.
        """
        caller = await self.caller(request)
        if caller.read_only:
            raise ApiError(403, "A demo token may look, and change nothing")
        role = await self._role(caller, space_id)
        if role is None:
            raise ApiError(403, "You are no member of this space")
        if role not in CHANGING_ROLES:
            raise ApiError(403, f"Your role in this space: found {role}, wanted member or higher")
        return caller

    async def look_in_space(self, request: Request, space_id: str) -> Caller:
        """A caller who belongs to the space, whatever the role.

        Raises:
            ApiError: 401 as `caller`; 403 for those who are no members.
        """
        caller = await self.caller(request)
        if await self._role(caller, space_id) is None:
            raise ApiError(403, "You are no member of this space")
        return caller

    async def may_trigger_in_space(self, caller: Caller, space_id: str) -> bool:
        """Whether `trigger_in_space` would let the caller in."""
        return not caller.read_only and await self._role(caller, space_id) in CHANGING_ROLES

    async def _role(self, caller: Caller, space_id: str) -> str | None:
        if not fit_for_id(space_id):
            return None
        return await self._directory.spaces.role_of(caller.id, space_id)


def _bearer_token(request: Request) -> str:
    values = request.headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "Authorization: wanted one header of the form `Bearer <token>`")
    return token.strip()
