"""A streaming call from the side of who makes it, through all its attempts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from ._link import Lost
from ._pool import Pool
from ._portions import MALFORMED
from ._stream import Stream
from ._types import SAEError, Status
from ._wire import Fields, Frame, WireError

Update = TypeVar("Update")

#: Seconds that a streaming call waits for a connection with room for it.
OPENING_TIMEOUT = 10.0


class Conversation:
    """A streaming call for the time of a `with`, used by one task at a time.

    Made again, with what was said, when the daemon refuses it and has said nothing of it: nothing was begun. A lost
    connection is UNAVAILABLE.
    """

    def __init__(self, pool: Pool, method: int, message: Fields, *, takes_messages: bool = False) -> None:
        self._pool, self._method, self._message = pool, method, message
        self._takes_messages = takes_messages
        self._stream: Stream | None = None
        #: Messages that were sent while the daemon had said nothing.
        self._unheard: list[tuple[bytes, bytes]] = []
        self._says_no_more = False
        self._attempts = 0

    async def __aenter__(self) -> Conversation:
        try:
            await self._open()
        except (SAEError, Lost) as error:
            await self._again(_failure(error))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the call up, unless it has ended."""
        if self._stream is not None:
            self._stream.close()

    @property
    def largest(self) -> int:
        """Bytes of a message and its attachment, at most."""
        return self._stream.largest if self._stream is not None else 0

    async def send(self, message: bytes = b"", attachment: bytes = b"") -> None:
        """Sends one message, once the daemon's window has room for it."""
        stream = self._current()
        if stream.is_heard:
            self._unheard.clear()
        else:
            self._unheard.append((message, attachment))
        try:
            await stream.send(message, attachment)
        except (SAEError, Lost) as error:
            await self._again(_failure(error))

    def finish(self) -> None:
        """No more messages will be sent."""
        self._says_no_more = True
        self._current().finish()

    async def receive(self) -> Frame | None:
        """The next message; None once the daemon has ended the call well."""
        while True:
            try:
                return await self._current().receive()
            except (SAEError, Lost) as error:
                await self._again(_failure(error))

    def _current(self) -> Stream:
        if self._stream is None:
            raise SAEError(Status.CANCELLED, "the call was not begun")
        return self._stream

    async def _open(self) -> None:
        link = await self._pool.link(time.monotonic() + OPENING_TIMEOUT, streaming=True)
        self._stream = link.open(self._method, self._message.encoded(), takes_messages=self._takes_messages)

    async def _again(self, error: SAEError) -> None:
        """Makes the call again after a refusal; raises `error` where it may not be."""
        while True:
            is_heard = self._stream is not None and self._stream.is_heard
            if is_heard or not error.is_refused or error.code not in (Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED):
                raise error
            await asyncio.sleep(self._pool.pause(error, self._attempts))
            self._attempts += 1
            try:
                await self._open()
                for message, attachment in list(self._unheard):
                    await self._current().send(message, attachment)
                if self._says_no_more:
                    self._current().finish()
                return
            except (SAEError, Lost) as failure:
                error = _failure(failure)


def _failure(error: SAEError | Lost) -> SAEError:
    return error if isinstance(error, SAEError) else SAEError(Status.UNAVAILABLE, str(error))


class Patience:
    """Lets attempts be repeated while connections are lost, until none has held for 15 s in a minute."""

    def __init__(self) -> None:
        self._give_up, self._pause = time.monotonic() + 60, 0.05
        self._begin = 0.0

    def begin(self) -> None:
        """An attempt begins."""
        self._begin = time.monotonic()

    async def failed(self, error: SAEError) -> None:
        """Waits until the next attempt; raises `error` where none is to follow."""
        if error.code not in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED):
            raise error
        if time.monotonic() - self._begin > 15:
            self._give_up, self._pause = time.monotonic() + 60, 0.05
        if time.monotonic() >= self._give_up:
            raise error
        await asyncio.sleep(self._pause)
        self._pause = min(2.0, self._pause * 2)


async def persist(attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeats `attempt` while connections are lost, as `Patience` has it."""
    patience = Patience()
    while True:
        patience.begin()
        try:
            return await attempt()
        except SAEError as error:
            await patience.failed(error)


async def updates(
    pool: Pool, method: int, message: Fields, read: Callable[[bytes], Update]
) -> AsyncIterator[Update]:
    """What a call of any number of answers tells, each as `read` has it, until the daemon ends the call. It is made again
    while connections are lost, as `Patience` has it."""
    patience = Patience()
    while True:
        patience.begin()
        try:
            async with Conversation(pool, method, message) as stream:
                while (frame := await stream.receive()) is not None:
                    try:
                        update = read(frame.message)
                    except WireError:
                        raise MALFORMED from None
                    yield update
            return
        except SAEError as error:
            await patience.failed(error)
