"""What handlers are given as `ctx.resources`: opened before the first job, closed after the last.

Workers that share a scope share what it opened: the first to start opens, the last to end closes.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack
from typing import Any


class ResourceScope:
    """Opens and closes what it was given, which is one of

    - an asynchronous or plain context manager: entered, and what it yields is handed out;
    - a function without parameters, `async` or not: called, and what it returns is treated likewise;
    - anything else: handed out as it is, and whoever made it closes it.

    A manager is entered again at the next start, so one that works only once must be given as a function.
    """

    def __init__(self, given: Any) -> None:
        self._given = given
        self._users = 0
        self._value: Any = None
        self._stack: AsyncExitStack | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> Any:
        """The resources. What opening raises goes to the caller, with nothing left open."""
        async with self._turn:
            if self._users == 0:
                stack = AsyncExitStack()
                try:
                    self._value = await _enter(stack, self._given)
                except BaseException:
                    await stack.aclose()
                    raise
                self._stack = stack
            self._users += 1
            return self._value

    async def close(self) -> None:
        """Ends one user's part; the last one closes."""
        async with self._turn:
            self._users -= 1
            if self._users == 0 and self._stack is not None:
                stack, self._stack, self._value = self._stack, None, None
                await stack.aclose()


async def _enter(stack: AsyncExitStack, given: Any) -> Any:
    if inspect.isroutine(given):
        given = given()
        if inspect.isawaitable(given):
            given = await given
    if hasattr(type(given), "__aenter__"):
        return await stack.enter_async_context(given)
    if hasattr(type(given), "__enter__"):
        return stack.enter_context(given)
    return given
