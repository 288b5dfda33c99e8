"""One streaming call on a connection: messages out as the daemon's window allows, messages in, one end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ._wire import CANCEL, CREDIT, END, INITIAL_WINDOW, MESSAGE, Frame, frame


class Stream:
    """Made by `Link.open`. `close` gives it up, unless it has ended."""

    def __init__(self, number: int, window: int, write: Callable[[bytes], None], forget: Callable[[], None]) -> None:
        self.number = number
        #: Bytes that the daemon takes now, and no message may be larger than at first.
        self.window = window
        self.largest = window
        #: The daemon has said something of the call.
        self.is_heard = False
        self._write = write
        self._forget = forget
        self._messages: deque[Frame] = deque()
        self._owed = 0
        self._end: Exception | None = None
        self._has_ended = False
        self._changed = asyncio.Event()

    async def send(self, message: bytes, attachment: bytes) -> None:
        """Sends one message, at most `largest` bytes, once the window has room for it."""
        size = len(message) + len(attachment)
        while not self._has_ended and size > self.window:
            await self._wait()
        if self._end is not None:
            raise self._end
        if not self._has_ended:
            self.window -= size
            self._write(frame(MESSAGE, stream=self.number, message=message, attachment=attachment))

    def finish(self) -> None:
        """No more messages will be sent."""
        if not self._has_ended:
            self._write(frame(END, stream=self.number))

    async def receive(self) -> Frame | None:
        """The next message; None once the daemon has ended the call well."""
        while not self._messages:
            if self._end is not None:
                raise self._end
            if self._has_ended:
                return None
            await self._wait()
        message = self._messages.popleft()
        self._owed += len(message.message) + len(message.attachment)
        if not self._has_ended and self._owed and (self._owed >= INITIAL_WINDOW // 2 or not self._messages):
            self._write(frame(CREDIT, stream=self.number, argument=self._owed))
            self._owed = 0
        return message

    def close(self) -> None:
        if not self._has_ended:
            self._write(frame(CANCEL, stream=self.number))
            self.ended(None)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # What the connection tells.

    def arrived(self, message: Frame) -> None:
        self.is_heard = True
        self._messages.append(message)
        self._changed.set()

    def credited(self, count: int) -> None:
        self.is_heard = True
        self.window += count
        self._changed.set()

    def ended(self, error: Exception | None) -> None:
        if not self._has_ended:
            self._end, self._has_ended = error, True
            self._forget()
        self._changed.set()
